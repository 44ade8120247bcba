"""Siemens raw data (twix, ``.dat``) as `RawScan`: the same header, readouts and samples as converted to ISMRMRD."""
