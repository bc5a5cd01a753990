"""Where a job's images come from, and the server for those that lie on this machine."""
