"""Commands, notebooks and what they share; they are run in a clone."""
