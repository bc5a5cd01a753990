"""What a pattern or a lexicon is worth, and what it costs; ``--help`` tells more."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from contract.errors import FleetError
from recognition.automaton import Automaton, pack
from recognition.charset import Charset
from recognition.decoding import FloatArray, make_decoder
from recognition.images import open_image, to_tensor
from recognition.lexicon import compile_lexicon
from recognition.model_file import load_model
from recognition.pattern import compile_pattern
from recognition.recogniser import Recogniser

SIZES = (1_000, 10_000, 1_000_000)  # words of a lexicon
FROM = 1_000  # of them what is drawn comes from
LENGTHS = range(3, 7)  # letters of a word that is drawn
LONGEST = 15  # of one that is made of two
ANYTHING = ".*"  # the same search, which then keeps to nothing
SEED = 1


@dataclass(frozen=True, slots=True)
class Drawn:
    """What a model makes of an image whose text is known."""

    text: str
    logits: FloatArray


@dataclass(frozen=True, slots=True)
class Found:
    """What a search made of all images: the share read right, and its milliseconds for each."""

    exact: float
    ms: float


@click.command()
@click.option("-n", "n", type=click.IntRange(1), default=2000, show_default=True, help="Images.")
@click.option(
    "--words",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    default="/usr/share/dict/words",
    show_default=True,
    help="A word a line, thousands of them.",
)
@click.option("--shrink", default=1.0, show_default=True, help="Draw so many times smaller first.")
def main(n: int, words: Path, shrink: float) -> None:
    """Read what the installed captcha library draws, with and without a pattern or a lexicon.

    \b
    Example:  python -m benchmarks.recognition.constraints -n 2000 --shrink 2
    """
    table = Table(title=f"{n:,} images each, shrunk {shrink:g} times; milliseconds of the search")
    for head in ("model", "images of", "kept to", "exact match", "ms", "build, s", "packed, kB"):
        table.add_column(head, justify="left" if head in ("images of", "kept to") else "right")
    try:
        for row in rows(n, words, shrink):
            table.add_row(*row)
    except FleetError as error:
        raise click.ClickException(str(error)) from error
    Console(width=110).print(table)


def rows(n: int, words: Path, shrink: float) -> Iterator[tuple[str, ...]]:
    """Measure everything, a line at a time."""
    for pattern in ("[0-9]{6}", "[A-Z]{4}[0-9]{2}", ANYTHING):
        yield from of_model("captcha", n, shrink, pattern=pattern)
    lexicon = many_words(words, random.Random(SEED))
    yield from of_model("captcha-wide", n, shrink, lexicon=lexicon)


def of_model(
    name: str, n: int, shrink: float, *, pattern: str = "", lexicon: Sequence[str] = ()
) -> Iterator[tuple[str, ...]]:
    """Measure a model without, and with each automaton."""
    charset = load_model(name).card.charset
    rng = random.Random(SEED)
    make = text_maker(pattern, charset, rng)
    texts = rng.choices(lexicon[:FROM], k=n) if lexicon else [make() for _ in range(n)]
    drawn = draw(name, texts, shrink)
    what = "words" if lexicon else pattern
    plain = search(name, drawn, None)
    yield (name, what, "", f"{plain.exact:.2%}", f"{plain.ms:.3f}", "", "")
    kept = {pattern: partial(compile_pattern, pattern, charset)}
    if lexicon:
        build_of = {size: partial(compile_lexicon, lexicon[:size], charset) for size in SIZES}
        kept = {f"{size:,} words": build for size, build in build_of.items()}
    for title, build in kept.items():
        began = time.process_time()
        automaton = build()
        build_s = time.process_time() - began
        found = search(name, drawn, automaton)
        size_kb = len(pack(automaton.to_bytes())) / 1000
        figures = (f"{found.exact:.2%}", f"{found.ms:.3f}", f"{build_s:.2f}", f"{size_kb:,.1f}")
        yield (name, what, title, *figures)


def search(name: str, drawn: Sequence[Drawn], automaton: Automaton | None) -> Found:
    """Find the text of every image."""
    decoder = make_decoder(load_model(name).card, None, automaton)
    began = time.process_time()
    texts = [decoder.read(one.logits[None])[0].text for one in drawn]
    spent = time.process_time() - began
    right = sum(text == one.text for text, one in zip(texts, drawn, strict=True))
    return Found(right / len(drawn), 1000 * spent / len(drawn))


def draw(name: str, texts: Sequence[str], shrink: float) -> list[Drawn]:
    """Draw texts with the library, as PNG files, and run a model on them."""
    from captcha.image import ImageCaptcha
    from PIL import Image

    recogniser = Recogniser(load_model(name).data)
    spec = recogniser.card.input
    library = ImageCaptcha(width=spec.width, height=spec.height)
    drawn = []
    for text in texts:
        image = library.generate_image(text)
        if shrink > 1:
            small = (round(spec.width / shrink), round(spec.height / shrink))
            image = image.resize(small, Image.Resampling.BILINEAR)
        file = BytesIO()
        image.save(file, format="PNG")
        tensor = to_tensor(open_image(file.getvalue()), spec)
        drawn.append(Drawn(text, recogniser.logits(tensor)))
    return drawn


def text_maker(pattern: str, charset: Charset, rng: random.Random) -> Callable[[], str]:
    """Make texts of one of the patterns above."""
    upper = [symbol for symbol in charset.symbols if symbol.isupper()]
    digits = [symbol for symbol in charset.symbols if symbol.isdigit()]
    if pattern == ANYTHING:
        return lambda: "".join(rng.choices(charset.symbols, k=rng.randint(1, 6)))
    letters = 4 if "A-Z" in pattern else 0
    return lambda: "".join(rng.choices(upper, k=letters) + rng.choices(digits, k=6 - letters))


def many_words(path: Path, rng: random.Random) -> list[str]:
    """Take small words of a file in any order, then words made of two, as many as are needed."""
    lines = path.read_text(errors="replace").split()
    words = [word for word in lines if word.isascii() and word.isalpha() and word.islower()]
    drawn = [word for word in words if len(word) in LENGTHS]
    rng.shuffle(drawn)
    known = dict.fromkeys(drawn)
    while len(known) < max(SIZES):
        made = rng.choice(words) + rng.choice(words)
        if len(made) <= LONGEST:
            known[made] = None
    return list(known)


if __name__ == "__main__":
    main()
