"""Fetch one image over HTTP, from where it may be fetched, as fast as its origin bears."""
