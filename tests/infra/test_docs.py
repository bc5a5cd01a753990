"""What the documents name is there: a file that moved leaves no stale word behind."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOUND = sorted(path for folder in (".", "docs", "infra") for path in (ROOT / folder).glob("*.md"))
DOCUMENTS = [path for path in FOUND if path.name != "CHANGELOG.md"]  # which names what is gone, too
ROOMS = "benchmarks broker contract docs infra models pifleet producer recognition tests training"
PATH = re.compile(rf"`((?:{ROOMS.replace(' ', '|')}|workers)/[\w./-]*\w|test_\w+\.py)`")
LINK = re.compile(r"\]\(([\w./-]+)[)#]")
MODULE = re.compile(r"python -m ((?:benchmarks|tests|training|pifleet)[\w.]*)")
IN_HISTORY = {"benchmarks/hidden_dashes.py", "benchmarks/drawer_parity.py"}  # models.md says where


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_document_names_what_is_there(document: Path) -> None:
    text = document.read_text()
    paths = {name for name in PATH.findall(text) if not (ROOT / name).exists()}
    links = {name for name in LINK.findall(text) if not (document.parent / name).exists()}
    modules = {name for name in MODULE.findall(text) if importlib.util.find_spec(name) is None}

    assert paths - IN_HISTORY | links | modules == set()
