"""Stages of the networks that see only what is near a voxel, trained on crops."""
