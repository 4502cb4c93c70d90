"""Warped: training writers' images, bent and with their parts moved, without a stroke model."""
