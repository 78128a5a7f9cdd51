"""Experiment configs, one short file each; they import ml_collections and one another only."""
