"""A procedural video world whose right answers can be rendered, and the small model trained on it."""
