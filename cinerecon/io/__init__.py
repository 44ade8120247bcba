"""The container and its file formats."""
