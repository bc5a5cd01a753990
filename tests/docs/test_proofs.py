"""What the documents name as shown by a test is a test that there is."""

from __future__ import annotations

import re

import pytest

from tests.support.documented import ROOT

NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(test_\w+))?`")
DOCUMENTS = ("SECURITY.md", "docs/reliability.md", "docs/failures.md")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_proof_that_is_named_is_there(document: str) -> None:
    named = NAMED.findall((ROOT / document).read_text())
    assert named
    for path, test in named:
        assert (ROOT / path).is_file(), path
        assert not test or f"def {test}(" in (ROOT / path).read_text(), f"{path}::{test}"
