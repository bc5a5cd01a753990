"""The network that system A ran, rebuilt and held against ours: its speed, and how it learns."""
