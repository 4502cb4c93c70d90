"""Stage 1: image and text encoders, joined by contrastive training."""
