"""Scans as a stream: a server of reconstructions, and a client, by the protocol of ISMRMRD."""
