"""Bytes that nobody foresaw, through the decoder and into a model."""
