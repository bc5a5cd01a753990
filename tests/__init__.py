"""Tests, one flat folder; the package makes ``tests.stripes`` importable."""
