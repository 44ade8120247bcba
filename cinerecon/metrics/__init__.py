"""The measures of image quality."""
