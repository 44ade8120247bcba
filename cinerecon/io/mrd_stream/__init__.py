"""Streams of ISMRMRD messages, as scanners, Gadgetron and MRD servers exchange them, in files and over connections."""

MRD_PORT = 9002
"""The port at which FIRE, OpenRecon and Gadgetron expect a server."""
