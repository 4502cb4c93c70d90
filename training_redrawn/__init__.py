"""Redrawn handwriting: the training writers' strokes, drawn again with small variations."""
