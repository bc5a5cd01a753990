"""A name that crosses a machine's border is spelt in broker/keys.py, and nowhere else."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.keys import KEY_PREFIX, TASK_READ_CHUNK

ROOT = Path(__file__).parents[2]
ROOMS = "contract broker recognition producer workers training pifleet benchmarks"
SOURCES = [
    path
    for room in ROOMS.split()
    for path in sorted((ROOT / room).rglob("*.py"))
    if path != ROOT / "broker" / "keys.py"
]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_wire_name_stands_nowhere_but_in_the_contract(path: Path) -> None:
    assert list(_wire_names(path.read_text())) == []


def test_wire_name_in_a_source_is_found() -> None:
    source = f'"""{KEY_PREFIX} in a docstring is prose."""\nkey = "{KEY_PREFIX}results:" + job'
    assert list(_wire_names(source)) == [f"2: {KEY_PREFIX}results:"]


def _wire_names(source: str) -> Iterator[str]:
    tree = ast.parse(source)
    prose = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str) or node in prose:
            continue
        text = node.value
        is_key = text.startswith(KEY_PREFIX) and not text.startswith(f"{KEY_PREFIX} ")  # a sentence
        if is_key or text == TASK_READ_CHUNK:
            yield f"{node.lineno}: {text}"
