"""The commands that the documents show, as a shell would get them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = ("README.md", "infra/README.md", "CONTRIBUTING.md", "SECURITY.md")
ASSIGNMENT = re.compile(r"[A-Z_]+=\S+ ")


@dataclass(frozen=True, slots=True)
class Shown:
    """One command in a document.

    Attributes:
        document: its path in the repository.
        text: with its continued lines in one, and without assignments before it.
        is_block: whether it stands in a block, to be typed as it is, and not in a sentence.
    """

    document: str
    text: str
    is_block: bool

    @property
    def words(self) -> list[str]:
        """As a shell divides it, without comments and redirections."""
        words = shlex.split(self.text, comments=True)
        end = next((i for i, word in enumerate(words) if word in (">", ">>", "|", "&&")), None)
        return words[:end]


def shown_commands(program: str = "pifleet") -> Iterator[Shown]:
    """Yield every command of a program that a document shows."""
    for path in [*(ROOT / name for name in DOCUMENTS), *sorted((ROOT / "docs").glob("*.md"))]:
        name, text = str(path.relative_to(ROOT)), path.read_text()
        for line in re.sub(r"\\\n\s*", "", text).splitlines():
            command = ASSIGNMENT.sub("", line.strip())
            if line.startswith("    ") and command.startswith(f"{program} "):
                yield Shown(name, command, is_block=True)
        for code in re.findall(r"`([^`]+)`", re.sub(r"(?m)^    .*$", "", text)):
            command = ASSIGNMENT.sub("", " ".join(code.split()))
            if command.startswith(f"{program} "):
                yield Shown(name, command, is_block=False)
