"""Words of any length, from any font or hand."""
