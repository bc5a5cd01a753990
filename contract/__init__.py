"""The vocabulary that every part shares: errors, reasons, settings, exit codes."""
