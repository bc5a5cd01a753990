"""The fleet on one machine: its Redis and workers, the demo, and what is wrong with the set-up."""
