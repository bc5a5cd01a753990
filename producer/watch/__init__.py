"""The fleet while somebody watches: what successive looks add up to, on one screen."""
