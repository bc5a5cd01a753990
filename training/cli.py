"""The commands of training: generate, train, evaluate, export. ``pifleet`` loads them lazily."""

from __future__ import annotations

import os
from pathlib import Path

import click

FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)


@click.group()
def train() -> None:
    """Train a recogniser."""


@train.command("captcha")
@click.option("--config", type=FILE, help="YAML of the experiment [default: the shipped model's].")
@click.option("--out", type=FOLDER, default=Path("runs/captcha"), show_default=True)
@click.option("--resume", is_flag=True, help="Go on from where the run in --out stopped.")
@click.option("--workers", type=click.IntRange(1), help="Processes that draw [default: cores].")
def train_captcha(config: Path | None, out: Path, resume: bool, workers: int | None) -> None:
    """Train a reader of captcha pictures.

    Draws its pictures into OUT/data, then learns them; KERAS_BACKEND chooses the backend.

    Example: pifleet train captcha --config training/configs/captcha.yaml --out runs/captcha
    """
    from training.config import load_config
    from training.train import train as run_training

    path = config or Path(__file__).parent / "configs" / "captcha.yaml"
    run_training(load_config(path), out, resume=resume, workers=workers or os.cpu_count() or 1)
    click.echo(f"{out}: trained; next: pifleet export {out} -o captcha.tflite")
