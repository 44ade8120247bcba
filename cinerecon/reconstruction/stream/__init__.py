"""Streaming of scans: a reconstruction server and a client that use the ISMRMRD protocol."""
