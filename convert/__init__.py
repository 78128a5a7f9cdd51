"""PyTorch checkpoints to folders that `checkpoint.load` reads; torch only inside functions."""
