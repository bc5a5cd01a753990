"""What kills and breaks things, and what becomes of a job then."""
