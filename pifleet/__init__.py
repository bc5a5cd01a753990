"""The one command, ``pifleet``, and the embedded stack that a first try needs."""
