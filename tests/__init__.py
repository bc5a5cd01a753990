"""Tests, in folders that mirror the packages; the package makes ``tests.support`` importable."""
