"""``python -m workers worker`` and ``python -m workers classify``."""

from __future__ import annotations

from workers.cli import main

if __name__ == "__main__":
    main()
