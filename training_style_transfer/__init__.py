"""Stage 2: style-transfer generators and the images that they generate."""
