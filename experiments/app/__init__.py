"""The live page: `python -m experiments.app`."""
