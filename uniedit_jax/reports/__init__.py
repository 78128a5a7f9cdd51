"""Pages, tables and clips on disk."""
