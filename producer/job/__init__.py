"""One job: what it is, its ledger, and the run that brings it to its end."""
