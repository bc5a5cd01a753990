"""Tests of ``security/``."""
