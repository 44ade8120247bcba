"""Streams of ISMRMRD messages in files and network connections, as used by scanners, Gadgetron and MRD servers."""

MRD_PORT = 9002
"""The default port of servers for FIRE, OpenRecon and Gadgetron."""
