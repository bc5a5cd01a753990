"""Tests of ``infra/``."""
