"""Videos, frames, mask files, camera moves and picture grids."""
