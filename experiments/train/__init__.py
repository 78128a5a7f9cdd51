"""Training of the sprites model."""
