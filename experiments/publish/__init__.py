"""Writes a checkpoint as a folder that can be uploaded to the hub, with its model card."""
