"""Measures of an edit: what was kept, what was changed, and how steady it is."""
