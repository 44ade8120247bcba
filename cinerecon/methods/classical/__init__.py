"""Classical reconstruction methods."""
