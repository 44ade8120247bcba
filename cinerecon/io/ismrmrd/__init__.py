"""ISMRMRD files: header, readouts, images; reading and writing."""
