"""A person puts a submission right: what was looked at, what that says of the rest."""
