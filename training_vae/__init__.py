"""Variational autoencoder: characters from a dozen latent variables."""
