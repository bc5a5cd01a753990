"""The command ``evaluate``."""

from __future__ import annotations

import os
from pathlib import Path

import click

from contract.errors import UserError

PNG = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("model")
@click.argument("data", type=click.Path(path_type=Path), required=False)
@click.option("--library", metavar="RELEASE", help="Let this release of captcha draw the images.")
@click.option("-n", "n", type=click.IntRange(1), default=10_000, help="With --library [10000].")
@click.option("--seed", type=click.IntRange(0), default=0, help="With --library [0].")
@click.option("--symbols", help="Allow these symbols only [default: all of the model's].")
@click.option("--json", "as_json", is_flag=True, help="All figures as JSON.")
@click.option("--plot", type=PNG, help="Draw the figures into this PNG.")
@click.option("--confusions", type=PNG, help="Draw who is taken for whom into this PNG.")
@click.option("--mistakes", type=PNG, help="Draw the most confident mistakes into this PNG.")
def evaluate(
    model: str,
    data: Path | None,
    library: str | None,
    n: int,
    seed: int,
    symbols: str | None,
    as_json: bool,
    plot: Path | None,
    confusions: Path | None,
    mistakes: Path | None,
) -> None:
    """Measure MODEL on DATA, or on images that the captcha library draws.

    MODEL is the name of a shipped model, or a .tflite file. DATA is a folder with labels.tsv, a
    packed set, or EMNIST in a form that it is published in. With --library, the unmodified release
    0.3, 0.5.0, 0.7.0 or 0.7.1 draws N images in an environment of its own; both are kept in the
    cache. Release 0.7.1 cannot be seeded: there the seed stands for the texts alone.

    \b
    Examples:
      pifleet evaluate captcha --library 0.7.1 -n 10000 --seed 1 --plot figures.png
      pifleet evaluate emnist validation.npz
    """
    from rich.console import Console

    from contract.settings import Settings
    from recognition.model_file import load_model
    from training.measuring import score_plots, score_report
    from training.measuring.evaluate import measure
    from training.measuring.library_set import drawn_set, set_for

    file = load_model(model)
    if library is not None:
        _refuse_both(data)
        wanted = set_for(file.card, release=library, n=n, seed=seed, allowed=symbols)
        settings = Settings.from_env(os.environ)
        data = drawn_set(wanted, settings.cache_dir, workers=os.cpu_count() or 1)
    if data is None:
        raise UserError("nothing to measure on: give DATA, or --library RELEASE")
    found = measure(file.data, data, allowed=symbols)
    for path, write in (
        (plot, score_plots.write_scores),
        (confusions, score_plots.write_confusions),
        (mistakes, score_plots.write_mistakes),
    ):
        if path is not None:
            write(found, path)
    if as_json:
        click.echo(score_report.to_json(found))
    else:
        Console().print(score_report.to_table(found))


def _refuse_both(data: Path | None) -> None:
    if data is not None:
        raise UserError(f"--library draws its own images: leave {data} out")
