"""Converts PyTorch checkpoints to folders for `checkpoint.load`; torch only inside functions."""
