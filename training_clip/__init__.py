"""Stage 1: image and text encoders, aligned by contrastive training."""
