"""ISMRMRD files: header, readouts, waveforms and images."""
