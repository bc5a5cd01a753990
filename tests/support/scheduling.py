"""Which tests pytest-xdist keeps in one process."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from xdist.scheduler import LoadScopeScheduling

ROOT = Path(__file__).parents[2]


class OneByOne(LoadScopeScheduling):  # type: ignore[misc]  # xdist ships no types
    """Each test goes to whichever process is free; a module with a fixture of its own stays whole.

    Another process would make that fixture again, and some of them train a network.
    """

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        return module if _has_fixture(module) else nodeid


@cache
def _has_fixture(module: str) -> bool:
    return 'scope="module"' in (ROOT / module).read_text()
