"""Edits of pixels by a loaded model: from a request to clips."""
