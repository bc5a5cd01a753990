"""Handwritten characters: loading EMNIST in its public forms, and the network for them."""
