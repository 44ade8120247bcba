"""Compare methods on the same scans: scores, statistics, tables, figures and a report."""
