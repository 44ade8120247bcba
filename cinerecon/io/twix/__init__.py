"""Siemens raw data (twix, ``.dat``) as `RawScan`, with header, readouts and samples as after conversion to ISMRMRD."""
