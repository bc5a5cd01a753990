"""What the page costs a job, and what reviewing one is worth."""
