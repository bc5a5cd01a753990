"""A name that crosses a machine's border is spelt in its exchange in broker/, and nowhere else."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.keys import KEY_PREFIX, TASK_READ_CHUNK
from pifleet.access.roles import EXCHANGES

ROOT = Path(__file__).parents[2]
OTHER_ROOMS = "contract recognition producer workers training pifleet benchmarks"
SOURCES = [path for room in OTHER_ROOMS.split() for path in sorted((ROOT / room).rglob("*.py"))]
MAKERS = {"KEY_PREFIX", "key"}  # with which a name could be composed


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_wire_name_stands_nowhere_but_in_the_broker(path: Path) -> None:
    assert list(_wire_names(path.read_text())) == []


@pytest.mark.parametrize(
    "source",
    [
        f'"""{KEY_PREFIX} in a docstring is prose."""\nkey = "{KEY_PREFIX}results:" + job',
        f'\nname = f"{KEY_PREFIX}{{job}}"',
        "\nfrom broker.keys import KEY_PREFIX, QUEUE",
        "\nfrom broker.keys import key as named",
        "\nimport broker.keys",
    ],
)
def test_wire_name_in_a_source_is_found(source: str) -> None:
    assert [found.partition(":")[0] for found in _wire_names(source)] == ["2"]


def test_every_exchange_says_what_roles_need_of_it() -> None:
    stated = {module.__name__ for module in EXCHANGES}
    keyed = {
        f"broker.{path.stem}"
        for path in (ROOT / "broker").glob("*.py")
        if path.stem != "keys" and "key(" in path.read_text()
    }
    assert keyed == stated


def _wire_names(source: str) -> Iterator[str]:
    tree = ast.parse(source)
    prose = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in prose:
            text = node.value
            is_sentence = text.startswith(f"{KEY_PREFIX} ")
            if (text.startswith(KEY_PREFIX) and not is_sentence) or text == TASK_READ_CHUNK:
                yield f"{node.lineno}: {text}"
        elif isinstance(node, ast.ImportFrom) and node.module == "broker.keys":
            yield from (f"{node.lineno}: {a.name}" for a in node.names if a.name in MAKERS)
        elif isinstance(node, ast.Import):
            yield from (f"{node.lineno}: {a.name}" for a in node.names if a.name == "broker.keys")
