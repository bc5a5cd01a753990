"""What passes through Redis: each exchange in one module, with both its ends."""
