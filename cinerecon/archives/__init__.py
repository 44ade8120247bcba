"""Archives of many scans: lists and names of scans, shards, journals, and the index of prepared cases."""
