"""Speed next to PyTorch."""
