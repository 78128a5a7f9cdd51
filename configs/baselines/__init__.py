"""The methods that the paper compares with, on the same model: one file each."""
