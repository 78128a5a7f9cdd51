"""The same edits by several methods."""
