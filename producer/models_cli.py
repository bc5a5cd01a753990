"""Commands about models: list, show, push, verify, keygen, sign."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from contract.settings import Settings

if TYPE_CHECKING:
    from rich.console import RenderableType

    from recognition.card import ModelCard
    from recognition.model_file import ModelFile

EXACT = "exact_match_"


@click.group()
def models() -> None:
    """Look at models, check them, and put them where workers find them.

    \b
    Example: pifleet models list
    """


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def list_models(as_json: bool) -> None:
    """List the shipped models.

    \b
    Example: pifleet models list
    """
    from rich.console import Console

    from recognition.model_file import load_model, shipped_models

    found = {name: load_model(name) for name in shipped_models()}
    if as_json:
        click.echo(json.dumps(models_json(found), indent=1))
    else:
        Console().print(models_table(found))


@models.command("show")
@click.argument("model")
def show_model(model: str) -> None:
    """Print the card of a model: a shipped one's name, or a path.

    \b
    Example: pifleet models show captcha
    """
    from recognition.model_file import load_model

    found = load_model(model)
    click.echo(json.dumps({"sha256": found.digest, **json.loads(found.card.to_json())}, indent=1))


@models.command()
@click.argument("model")
@click.option("--redis-url", help="Broker; default PIFLEET_REDIS_URL.")
def push(model: str, redis_url: str | None) -> None:
    """Put a model into Redis now; `submit` does so by itself.

    \b
    Example: pifleet models push my.tflite
    """
    from broker.connection import connect, redis_errors
    from broker.models import push_model
    from recognition.model_file import load_model

    found = load_model(model)
    settings = Settings.from_env(os.environ, redis_url=redis_url)
    with connect(settings.redis_url) as client, redis_errors(settings.redis_url):
        push_model(client, found.digest, found.data, found.signature)
    click.echo(f"{found.card.name} {found.digest}")


@models.command()
@click.argument("model")
@click.option("--runtime", help="litert, tflite-runtime or tensorflow; default the first found.")
def verify(model: str, runtime: str | None) -> None:
    """Read the golden images inside a model with this machine's runtime.

    \b
    Example: pifleet models verify captcha
    """
    from recognition.interpreter import runtime_name
    from recognition.model_file import load_model
    from recognition.recogniser import verify_golden

    found = load_model(model)
    number = verify_golden(found.data, only=runtime)
    name = runtime_name(runtime)
    click.echo(f"{found.card.name}: {number} golden images read as the card says, with {name}")


@models.command()
@click.argument("file", type=click.Path(path_type=Path))
def keygen(file: Path) -> None:
    """Make a key to sign models with: FILE stays with you, FILE.pub goes to every worker.

    \b
    Example: pifleet models keygen ~/.config/pifleet/models.key
    """
    from recognition.signing import make_key

    click.echo(f"private, keep it: {file}", err=True)
    click.echo(make_key(file))


@models.command("sign")
@click.argument("model")
@click.option("--key", required=True, type=click.Path(path_type=Path), help="Of `models keygen`.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Default MODEL.sig.")
def sign_model(model: str, key: Path, output: Path | None) -> None:
    """Sign a model, for workers that have PIFLEET_TRUSTED_KEYS; `submit` finds the signature.

    \b
    Example: pifleet models sign my.tflite --key models.key
    """
    from contract.files import check_output, write_rows
    from recognition.model_file import find_model, load_model
    from recognition.signing import sign_digest, signature_path

    path = output or signature_path(find_model(model))
    check_output(path, reads=[find_model(model), key])
    write_rows(path, [[sign_digest(load_model(model).digest, key)]])
    click.echo(path)


def models_table(found: dict[str, ModelFile]) -> RenderableType:
    """Draw models, by their names."""
    from rich.table import Table
    from rich.text import Text

    if not found:
        return "no models are shipped with this installation"
    table = Table(header_style="bold", show_lines=True)
    table.add_column("model", no_wrap=True)
    table.add_column("symbols", overflow="fold")
    table.add_column("exact match", no_wrap=True)
    for name, model in found.items():
        card = model.card
        size = f"{card.input.told}, {len(model.data) / 1000:.0f} kB"
        symbols = Text(f"{len(card.symbols)}:\n{card.shown_symbols}")  # no markup: [ is a symbol
        table.add_row(
            f"{name}\n{size}\n{model.digest[:8]}", symbols, "\n".join(exact_matches(card))
        )
    return table


def exact_matches(card: ModelCard) -> list[str]:
    """Write a line for each set that the card has an exact match of; `models show` has the rest."""
    figures = {
        name.removeprefix(EXACT): value
        for name, value in sorted(card.metrics.items())
        if name.startswith(EXACT)
    }
    return [f"{100 * value:.2f} %  {name}" for name, value in figures.items()]


def models_json(found: dict[str, ModelFile]) -> list[dict[str, Any]]:
    """Write models as JSON objects."""
    return [
        {
            "name": name,
            "sha256": model.digest,
            "bytes": len(model.data),
            "symbols": model.card.symbols,
            "metrics": model.card.metrics,
        }
        for name, model in found.items()
    ]
