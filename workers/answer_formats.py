"""What was read in some files as lines of text, CSV or JSON, the same bytes every time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from contract.files import format_row
from recognition.letters import capitalise, code_points
from workers.classify import Answer

Format = Literal["text", "csv", "json"]


@dataclass(frozen=True, slots=True)
class Shape:
    """How an answer is written.

    Attributes:
        capitalise: whether letters are folded to upper case.
        code_points: whether those of the text stand behind it.
    """

    capitalise: bool = False
    code_points: bool = False


def lines(answers: Iterable[Answer], how: Format, shape: Shape) -> Iterator[str]:
    """Yield a line an answer, with its LF: fields by tabs, CSV, or a JSON object."""
    for answer in answers:
        if how == "json":
            yield json.dumps(_object(answer, shape), ensure_ascii=False) + "\n"
        elif how == "csv":
            yield format_row(fields(answer, shape))
        else:
            yield "\t".join(fields(answer, shape)) + "\n"


def fields(answer: Answer, shape: Shape) -> list[str]:
    """Give name, text and, where wanted, code points; empty ones where nothing was read."""
    text = _text(answer, shape) or ""
    return [answer.name, text, code_points(text)] if shape.code_points else [answer.name, text]


def _object(answer: Answer, shape: Shape) -> dict[str, object]:
    row, text = answer.row, _text(answer, shape)
    found = {"name": answer.name, "text": text, "confidence": round(row.confidence, 4)}
    named = {"code_points": code_points(text or "") or None} if shape.code_points else {}
    return {**found, **named, "reason": row.reason}


def _text(answer: Answer, shape: Shape) -> str | None:
    text = answer.row.text
    return capitalise(text) if text and shape.capitalise else text
