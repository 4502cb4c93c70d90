"""The stroke reader: a network that tells where the strokes of a character lie in its image."""
