"""Tests of ``broker/``."""
