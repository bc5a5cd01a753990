"""How long our networks and that of an earlier system, system A, take for the same images."""
