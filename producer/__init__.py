"""The command side: sources, ledger, sending, collecting, and the submission."""
