"""PyTorch checkpoints to folders that `uniedit_jax.checkpoint.load` reads; torch only inside functions."""
