"""Adversarial networks: characters from noise, one generator against one discriminator."""
