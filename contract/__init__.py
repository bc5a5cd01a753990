"""What two machines of a fleet must agree on: names, messages, errors, models and reading."""
