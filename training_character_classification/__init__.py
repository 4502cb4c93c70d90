"""Stage 3: recognisers with and without generated images, and their comparison."""
