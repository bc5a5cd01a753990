"""What the performance claims rest on: each module runs with ``python -m benchmarks.NAME``."""
