"""UniEdit itself: what is exchanged between rows, when, and how rows are sampled; jax and numpy
only.
"""
