"""From an image's bytes to its text: decoding, models, and the search for the best reading."""
