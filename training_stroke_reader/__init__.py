"""The stroke reader: a network that locates the strokes of a character in its image."""
