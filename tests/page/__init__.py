"""The page in a browser, and what defends it."""
