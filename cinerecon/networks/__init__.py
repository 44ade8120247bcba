"""Pure networks: (kspace, encoding) -> image."""
