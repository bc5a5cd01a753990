"""Whether an answer may be taken: a worker that somebody else controls must spoil no submission.

It can still read its own chunks wrongly, which nobody could tell from a bad model. What it cannot
do is answer for a delivery that it did not claim, for images that it was not given, write what the
model cannot, or end a delivery without a row for each of its images, after which nobody would ever
read them.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable, Iterable

from broker.claims import make_token
from broker.results import ChunkResult, Outcome, Row
from contract.errors import MessageError
from producer.job.store import Ledger
from recognition.automaton import Automaton, unpack
from recognition.card import read_card

log = logging.getLogger(__name__)

Members = Callable[[int], frozenset[int]]


class AnswerCheck:
    """What the answers to one job are held against."""

    def __init__(
        self,
        members: Members,
        allowed: Iterable[str],
        *,
        secret: str,
        accepts: Callable[[str], bool] | None = None,
    ) -> None:
        """Hold them against this.

        Args:
            members: finds the indexes of the images of a delivery; none for an unknown one.
            allowed: the symbols that may be written.
            secret: of the job, from which the tokens of its deliveries are made.
            accepts: tells whether a text of these symbols is one that the job accepts; None where
                it accepts all.
        """
        self._accepts = accepts
        self._members = members
        self._secret = secret
        self._allowed = frozenset(allowed)

    def acceptable(self, results: Iterable[ChunkResult]) -> list[ChunkResult]:
        """Keep those that may be taken; the others are logged and dropped.

        The delivery of one that was dropped counts as unanswered, and is sent again.
        """
        return [result for result in results if self._is_acceptable(result)]

    def check(self, result: ChunkResult) -> None:
        """Refuse an answer that cannot be one of ours.

        Raises:
            MessageError: says what is wrong.
        """
        members = self._members(result.delivery)
        if not members:
            raise MessageError("nothing of this number was ever sent")
        if not hmac.compare_digest(result.token.encode(), self._token(result.delivery)):
            raise MessageError("it does not bring the token of its delivery")
        if result.outcome is Outcome.DONE:
            _check_indexes(result.rows, members)
            for row in result.rows:
                self._check_text(row)
        elif result.rows:
            raise MessageError(f"{len(result.rows)} rows, though it is {result.outcome}")
        if result.crash is not None and result.crash.image not in {None, *members}:
            raise MessageError("it suspects an image that it was not given")

    def _token(self, delivery: int) -> bytes:
        return make_token(self._secret, delivery).encode()

    def _is_acceptable(self, result: ChunkResult) -> bool:
        try:
            self.check(result)
        except MessageError as error:
            log.warning(
                "answer refused delivery=%d worker=%s: %s",
                *(result.delivery, result.worker, error),
            )
            return False
        return True

    def _check_text(self, row: Row) -> None:
        if row.text is None:
            return
        if not self._allowed.issuperset(row.text):
            raise MessageError(f"image {row.index} is read as {row.text!r:.40}, beyond the symbols")
        if self._accepts is not None and not self._accepts(row.text):
            raise MessageError(f"image {row.index} is read as {row.text!r:.40}, not as demanded")


def answer_check(ledger: Ledger, members: Members) -> AnswerCheck:
    """Make the check of the answers to a ledger's job."""
    allowed = ledger.spec.symbols or read_card(ledger.model).symbols
    packed = ledger.automaton
    accepts = None if packed is None else _acceptor(ledger.model, packed)
    return AnswerCheck(members, allowed, secret=ledger.secret, accepts=accepts)


def _acceptor(model: bytes, packed: bytes) -> Callable[[str], bool]:
    charset = read_card(model).charset
    automaton = Automaton.from_buffer(unpack(packed))
    return lambda text: automaton.accepts(charset.encode(text))


def _check_indexes(rows: tuple[Row, ...], members: frozenset[int]) -> None:
    indexes = [row.index for row in rows]
    if len(indexes) != len(members) or not members.issuperset(indexes):
        raise MessageError(f"{len(rows)} rows for {len(members)} images, or for others")
    if len(set(indexes)) != len(indexes):
        raise MessageError("an image has two rows")
