"""DCGAN: characters from noise, by a generator trained against a discriminator."""
