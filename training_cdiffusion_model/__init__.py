"""Conditional diffusion: characters in a given hand, from noise in a few steps."""
