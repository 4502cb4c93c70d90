"""Warped: training writers' images bent and their parts moved, without any model of strokes."""
