"""How a worker is: what it reports, what it watches, and what it tells systemd."""
