"""Conditional diffusion: characters in a hand, from noise in few steps."""
