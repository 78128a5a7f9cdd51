"""From configs to checked dataclasses."""
