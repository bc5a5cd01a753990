"""Deterministic simulation of a producer: a seed, a virtual clock, faults at every step."""
