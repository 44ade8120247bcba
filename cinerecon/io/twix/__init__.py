"""Siemens raw data (twix, ``.dat``), read as `RawScan` with the same content as after conversion to ISMRMRD."""
