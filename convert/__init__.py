"""PyTorch checkpoints to folders that `uniedit_jax.checkpoint.load` reads; torch is imported in functions only."""
