"""Handwriting redrawn: the strokes of training writers, written again a little otherwise."""
