"""UniEdit: tuning-free, text-guided video editing on text-to-video diffusion UNets, in JAX and Flax."""
