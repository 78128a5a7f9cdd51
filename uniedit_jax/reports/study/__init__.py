"""Blind user studies: the page, the answers, the key."""
