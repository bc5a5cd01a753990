"""Tests of ``recognition/``."""
