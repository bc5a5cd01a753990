"""A worker that may open few files: ``python -m tests.support.few_files_worker worker``."""

from __future__ import annotations

import resource

FIRST, MOST = 100, 256  # what it is given, and what it may ask for

if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (FIRST, MOST))
    from pifleet.cli import main

    main()
