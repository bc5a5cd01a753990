"""``labels.tsv``: the file name and the text of each image of a folder, one a line.

Tabs and line ends are no symbols of any charset, so that nothing needs quoting.
"""

from __future__ import annotations

from pathlib import Path

from contract.errors import UserError

LABELS_FILE = "labels.tsv"


def write_labels(folder: Path, texts: dict[str, str]) -> None:
    """Write the texts of a folder's files."""
    lines = [f"{name}\t{text}\n" for name, text in texts.items()]
    (folder / LABELS_FILE).write_text("".join(lines), encoding="utf-8", newline="")


def read_labels(folder: Path) -> dict[str, str]:
    """Read the texts of a folder's files.

    Raises:
        UserError: there is no such file, or a line of it is not a name, a tab and a text.
    """
    path = folder / LABELS_FILE
    try:
        lines = path.read_text("utf-8").removesuffix("\n").split("\n")
    except OSError as error:
        raise UserError(f"{folder} holds no {LABELS_FILE} (file, tab, text a line)") from error
    texts: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        name, tab, text = line.partition("\t")
        if not tab or not name or not text:
            raise UserError(f"{path}, line {number}: {line!r} is not a name, a tab and a text")
        texts[name] = text
    return texts
