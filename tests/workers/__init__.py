"""Tests of ``workers/``."""
