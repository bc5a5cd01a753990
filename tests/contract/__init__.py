"""Tests of ``contract/``."""
