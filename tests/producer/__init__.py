"""Tests of ``producer/``."""
