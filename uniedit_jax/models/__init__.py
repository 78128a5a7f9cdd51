"""The networks, as flax.linen modules that are used only through `init` and `apply`."""
