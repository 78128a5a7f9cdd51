"""Measures of clips: fidelity, change, motion and steadiness, and their statistics."""
