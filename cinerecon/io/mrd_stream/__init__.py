"""Streams of ISMRMRD messages, as scanners, Gadgetron and MRD servers exchange them, in files and over connections."""
