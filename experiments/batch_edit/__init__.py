"""Edits of a manifest on many devices and hosts."""
