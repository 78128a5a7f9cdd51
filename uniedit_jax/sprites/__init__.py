"""A procedural video world with exact answers to its edits, and the small model trained on it."""
