"""Read a table of ``docs/failures.md``: what people are told is what the tests produce."""

from __future__ import annotations

import re
from pathlib import Path

FAILURES = Path(__file__).parents[2] / "docs" / "failures.md"
ROW = re.compile(r"\| (?P<case>[^|]+?) \| `(?P<outcome>\w+)` \|")


def table(section: str) -> dict[str, str]:
    """Map case to outcome of the table under a heading of the second level."""
    text = FAILURES.read_text().partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    rows = [match for match in map(ROW.match, text.splitlines()) if match]
    return {row["case"].replace("`", ""): row["outcome"] for row in rows}
