"""What the claims in the README rest on, a room for each kind: throughput, chaos, recognition."""
