"""What machines of a fleet are set up with: files that `pifleet join` hands out, and no code."""
