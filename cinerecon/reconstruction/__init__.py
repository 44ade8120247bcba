"""From raw scans to images: one slice, whole scans, many scans."""
