"""Faults of every kind, spread over one job, and what became of its images."""
