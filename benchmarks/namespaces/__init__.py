"""A fleet of unequal Pis on one machine: each a network namespace with a share of a core."""
