"""The one command: loads each part only when it is asked for, and is where errors become exits."""

from __future__ import annotations

import importlib
import logging
import os
import platform
import signal
import sys
import threading

import click

from contract.errors import FleetError
from contract.exit_codes import DONE, INTERRUPTED, USAGE, exit_code
from contract.installing import find_extra, install_command

log = logging.getLogger("pifleet")

AGAIN_S = 0.02  # until an interrupt that Python dropped is raised again

COMMANDS = {  # in the order in which a newcomer meets them; the summary saves an import for --help
    "demo": ("pifleet.local.demo:demo", "See it work here: a Redis, workers, a job and its CSV."),
    "up": ("pifleet.local.up:up", "Keep a Redis and workers running here until Ctrl-C."),
    "submit": ("producer.cli:submit", "Run a job to its end, or go on with it."),
    "collect": ("producer.cli:collect", "End a job that was detached or interrupted."),
    "jobs": ("producer.cli:jobs", "List this machine's jobs."),
    "cancel": ("producer.cli:cancel", "End a job now."),
    "review": ("pifleet.page.cli:review", "Put readings right, and say what is left."),
    "serve": ("pifleet.page.cli:serve", "Serve a page to try, watch and review."),
    "dead": ("producer.dead_cli:dead", "List the images that failed, and try them again."),
    "backup": ("producer.backup:backup_command", "Copy this machine's jobs, while they run."),
    "restore": ("producer.backup:restore_command", "Put them back where they were."),
    "status": ("producer.cli:status", "Show the fleet."),
    "worker": ("workers.cli:worker", "Read chunks: what a Pi runs."),
    "classify": ("workers.cli:classify", "Read files and folders here, without a queue."),
    "symbols": ("producer.symbols.cli:symbols", "Say which symbols the images really hold."),
    "models": ("producer.models_cli:models", "List, show, push, verify and sign models."),
    "join": ("pifleet.joining.cli:join", "Join the fleet from a Pi, or let a Pi join it."),
    "wheelhouse": ("pifleet.joining.wheelhouse:wheelhouse", "Collect all that a Pi installs."),
    "access": ("pifleet.access.access:access", "Say who may join the fleet: TLS and passwords."),
    "dashboard": ("pifleet.dashboard:dashboard", "Watch the fleet in Flower."),
    "exporter": ("pifleet.metrics.exporter:exporter", "Serve the fleet's metrics to Prometheus."),
    "generate": ("training.cli:generate", "Draw a data set."),
    "train": ("training.cli_train:train", "Train a recogniser."),
    "evaluate": ("training.cli:evaluate", "Measure a model on labelled images."),
    "export": ("training.cli:export", "Turn a training run into a .tflite file."),
    "doctor": ("pifleet.local.doctor:doctor", "Say what is wrong with this machine's set-up."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are used: `pifleet status` loads no model."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands."""
        return list(COMMANDS)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing one."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command, or say which extra it needs."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name][0].split(":")
        try:
            command: click.Command = getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            raise _missing(error, module) from error
        return command


def print_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    """Print version, commit, place and Python."""
    if not value or ctx.resilient_parsing:
        return
    from pifleet.release import PLACE, describe

    click.echo(f"pifleet {describe()} from {PLACE} (Python {platform.python_version()})")
    ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-v", "--verbose", count=True, help="More on stderr; twice: with tracebacks.")
@click.option("-q", "--quiet", count=True, help="Less on stderr.")
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=print_version)
@click.pass_context
def cli(ctx: click.Context, verbose: int, quiet: int) -> None:
    """Read images of text with a fleet of Raspberry Pis.

    \b
    Begin here:  pifleet demo
    """
    ctx.obj = verbose
    log_to_stderr(verbose - quiet)


def log_to_stderr(loudness: int) -> None:
    """Log to stderr: warnings, with -v the course of things, with -vv each step."""
    levels = {-1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO, 2: logging.DEBUG}
    level = levels[max(-1, min(2, loudness))]
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s")


def main() -> None:
    """Run the command line; every expected error is one line on stderr, and an exit code."""
    _interrupt_once()
    try:
        code = cli.main(standalone_mode=False)  # else click ends Ctrl-C with 1
        sys.exit(code if isinstance(code, int) else DONE)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (FleetError, OSError, UnicodeEncodeError) as error:
        click.echo(f"pifleet: {_told(error)}", err=True)
        if "-vv" in sys.argv:
            log.exception("traceback")
        sys.exit(exit_code(error) if isinstance(error, FleetError) else USAGE)
    except (KeyboardInterrupt, click.Abort):
        click.echo("pifleet: interrupted", err=True)
        _forget_interrupt()
        sys.exit(INTERRUPTED)
    except ModuleNotFoundError as error:
        if error.name is None:
            raise
        click.echo(f"pifleet: {_missing(error, _called_part()).message}", err=True)
        sys.exit(USAGE)


def _interrupt_once() -> None:
    """Let the first Ctrl-C unwind, and the second end the process at once.

    What is on disk survives both. A second KeyboardInterrupt would strike in a ``finally``. Python
    drops what is raised in the callback of a weak reference, of which imports have many: there it
    is raised again a moment later.
    """

    def interrupt(number: int, frame: object) -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        raise KeyboardInterrupt

    def raise_again(dropped: sys.UnraisableHookArgs) -> None:
        if not issubclass(dropped.exc_type, KeyboardInterrupt):
            sys.__unraisablehook__(dropped)
            return
        signal.signal(signal.SIGINT, interrupt)
        later = threading.Timer(AGAIN_S, os.kill, [os.getpid(), signal.SIGINT])
        later.daemon = True
        later.start()

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # ignored after nohup or &
        signal.signal(signal.SIGINT, interrupt)
        sys.unraisablehook = raise_again


def _forget_interrupt() -> None:
    """Let the process end by its exit code though the interrupt struck while a string was run.

    CPython notes that an interrupt left an ``exec`` of a string, as imports are full of (data
    classes, named tuples), takes it for unhandled whoever catches it, and at the end of
    ``python -m`` kills itself by SIGINT. The next string that is run clears the note.
    Source: ``run_eval_code_obj`` in CPython's pythonrun.c.
    """
    exec("", {})


def _told(error: FleetError | OSError | UnicodeEncodeError) -> str:
    """Say it in one line; a disk, or a name that is no UTF-8, may stop any command."""
    if isinstance(error, FleetError):
        return str(error)
    if isinstance(error, UnicodeEncodeError):
        return f"{error.object[:80]!r} cannot be written as {error.encoding}: rename the file"
    place = f"{error.filename}: " if error.filename else ""
    return f"{place}{error.strerror or error}"


def _missing(error: ModuleNotFoundError, part: str) -> click.UsageError:
    missing = str(error.name).partition(".")[0]
    command = install_command(find_extra(missing, part=part.partition(".")[0]))
    return click.UsageError(f"{missing} is not installed: {command}")


def _called_part() -> str:
    """Name the package of the command that was called, for what fails while it runs."""
    called = next((word for word in sys.argv[1:] if word in COMMANDS), "")
    return COMMANDS[called][0].partition(".")[0] if called else ""
