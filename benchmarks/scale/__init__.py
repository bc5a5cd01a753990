"""A thousand Pis and ten million images, with workers that only wait."""
