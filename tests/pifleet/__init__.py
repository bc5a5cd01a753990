"""Tests of ``pifleet/``."""
