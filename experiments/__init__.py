"""Entry points: each reads flags, loads a checkpoint, calls the library and writes what came out."""
