"""Who may join the fleet: authority, users, and what each role may do in the broker."""
