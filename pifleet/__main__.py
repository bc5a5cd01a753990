"""``python -m pifleet`` does what ``pifleet`` does."""

from __future__ import annotations

from pifleet.cli import main

if __name__ == "__main__":
    main()
