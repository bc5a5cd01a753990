"""Begin a job or go on with it, run it to its end, and write its submission."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from broker.connection import connect, redis_errors
from broker.rates import keep_limits
from contract.errors import LedgerError, UserError
from contract.files import failures_path, is_database
from contract.settings import Settings
from producer.job.doors import redis_doors
from producer.job.pace import Priority
from producer.job.scheduler import SIGNATURE_KEY, JobRun, RunOptions
from producer.job.spec import JobSpec
from producer.job.store import Ledger, NameIndex, held
from producer.progress import say, shown
from producer.registry import find_output, remember
from producer.same_job import Asked, check_same, note_origin
from producer.sources.image import SourceImage
from producer.sources.source import open_source
from producer.submission import (
    Layout,
    check_outputs,
    keep_layout,
    ledger_path,
    load_layout,
    source_files,
    write_submission,
)
from producer.verdict import count_empty, count_reasons
from recognition.charset import parse_symbols
from recognition.constraint import Constraint, Demand, make_constraint
from recognition.model_file import ModelFile, load_model

if TYPE_CHECKING:
    from redis import Redis

log = logging.getLogger(__name__)

DETACH_LIMIT = 200_000  # images; some 20 MB of Redis, which then holds the whole job


@dataclass(frozen=True, slots=True)
class Request:
    """What ``pifleet submit`` was asked for.

    Attributes:
        source: as given; see ``producer.sources.source``.
        output: the submission CSV.
        model: a shipped model's name or a path.
        symbols: those allowed, or a preset's name; None allows all.
        pattern: that each text matches as a whole; None for any.
        lexicon: a file of the words that the texts are among; None for any.
        index_item: the address of one image of an index page.
        attempts: how often an image is tried whose failure may pass.
        chunk: the most images a task.
        priority: beside other jobs; like ``chunk`` it may be another when the job goes on.
        layout: of the submission.
        rate: requests a second that the whole fleet may make for the job; None for no limit.
        per_host: requests a second that the whole fleet may make to each host.
        restart: begin anew where there is a ledger already.
    """

    source: str
    output: Path
    model: str = "captcha"
    symbols: str | None = None
    pattern: str | None = None
    lexicon: Path | None = None
    index_item: str | None = None
    attempts: int = 3
    chunk: int = 128
    priority: Priority = Priority.NORMAL
    layout: Layout = field(default_factory=Layout)
    rate: float | None = None
    per_host: float | None = None
    restart: bool = False

    def __post_init__(self) -> None:
        """Take a preset for its symbols: the ledger and the workers know symbols alone."""
        object.__setattr__(self, "symbols", parse_symbols(self.symbols))

    @property
    def demand(self) -> Demand:
        """What is demanded of the texts."""
        return Demand(self.symbols, self.pattern, self.lexicon)

    @property
    def reads(self) -> list[Path]:
        """The files that must not be written over."""
        lexicon = [] if self.lexicon is None else [self.lexicon]
        return [Path(self.source), Path(self.model), *lexicon]


@dataclass(frozen=True, slots=True)
class JobSummary:
    """How a job ended.

    Attributes:
        job: its id.
        images: all of them.
        read: those with a text.
        empty: of those, the ones in which the model saw no symbol.
        failed: those without a text.
        reasons: how many of those failed for what, the most frequent first.
        repeats: answers to images that had one already.
        resent: images that were sent again.
        seconds: that this run took.
        images_per_s: that this run read.
        csv: the submission.
        failures_csv: the failures with their reasons.
    """

    job: str
    images: int
    read: int
    empty: int
    failed: int
    reasons: dict[str, int]
    repeats: int
    resent: int
    seconds: float
    images_per_s: float
    csv: str
    failures_csv: str

    def to_json(self) -> dict[str, Any]:
        """Build it as a JSON object."""
        return asdict(self)


def submit(request: Request, settings: Settings) -> JobSummary:
    """Run a job to its end; goes on where an earlier run of the same job stopped.

    Raises:
        UserError: the request, its source, its model or an older ledger does not fit.
        ServiceError: Redis cannot be reached.
    """
    with prepared(request, settings) as ledger:
        return finish(
            ledger, request.output, settings, chunk=request.chunk, priority=request.priority
        )


def detach(request: Request, settings: Settings) -> str:
    """Send a whole job at once, and leave; returns the job's id.

    Raises:
        UserError: the job is too large for that, or its images are served from here.
        ServiceError: Redis cannot be reached.
    """
    with prepared(request, settings) as ledger:
        spec, total = ledger.spec, ledger.counts().total
        if spec.served is not None:
            raise UserError(f"--detach: {spec.source} is served from here, so this must stay")
        if total > DETACH_LIMIT:
            raise UserError(f"--detach: {total} images, at most {DETACH_LIMIT} fit into Redis")
        options = _options(settings, chunk=request.chunk)
        with (
            connect(settings.redis_url) as client,
            shown(total, spec.job) as report,
            redis_errors(settings.redis_url),
        ):
            if spec.is_limited:
                keep_limits(client, spec.job, ledger.hosts() if spec.per_host else ())
            with closing(_open_run(ledger, client, options)) as run:
                run.send_all(report)
        return spec.job


def collect(job: str, settings: Settings, *, chunk: int, priority: Priority) -> JobSummary:
    """Go on with a job by its id, and end it in the layout that it was submitted with.

    Raises:
        LedgerError: there is no such job here, or it is being run.
    """
    output = find_output(settings.state_dir, job)
    with Ledger(ledger_path(output)) as ledger:
        return finish(ledger, output, settings, chunk=chunk, priority=priority)


def preview(request: Request, *, shown_names: int = 5) -> list[str]:
    """Say what would be sent, a line each, and send nothing."""
    model = load_model(request.model)
    accepted = make_constraint(model.card, request.demand)  # refuses what it cannot write
    images = list(open_source(request.source, index_item=request.index_item))
    some = [f"  {image.name} <- {image.url}" for image in images[:shown_names]]
    more = [f"  … and {len(images) - shown_names} more"] if len(images) > shown_names else []
    headline = f"{len(images)} images, model {model.card.name} ({model.digest[:12]})"
    told = [model.card.told(request.symbols), *([accepted.told] if accepted.told else [])]
    return [headline, *told, *some, *more]


@contextmanager
def prepared(request: Request, settings: Settings) -> Iterator[Ledger]:
    """Open the job's ledger, written to its end; what fails leaves all as it was."""
    check_outputs(request.output, reads=request.reads)
    path = ledger_path(request.output)
    model = load_model(request.model)
    accepted = make_constraint(model.card, request.demand)  # refuses what it cannot write
    is_new = request.restart or not path.exists()
    if is_new:
        connect(settings.redis_url).close()  # no ledger is made where there is no Redis
        _begin(path, request, model, accepted)
    with Ledger(path) as ledger:
        if not is_new:
            _resume(ledger, request, model, accepted)
        remember(settings.state_dir, ledger.spec.job, request.output)
        keep_layout(ledger, request.layout)
        if model.signature is not None:  # it may have been signed since the last run
            ledger.put(SIGNATURE_KEY, model.signature)
        say(model.card.told(request.symbols))
        if accepted.told:
            say(accepted.told)
        yield ledger


def _resume(ledger: Ledger, request: Request, model: ModelFile, accepted: Constraint) -> None:
    if not ledger.is_sealed:  # a program before this one was ended while it read the source
        _seal(ledger, request, model, accepted)
        return
    asked = Asked(
        *(request.source, request.index_item, model.digest),
        symbols=request.symbols,
        pattern=request.pattern,
        words=accepted.words_digest,
    )
    check_same(ledger, asked)
    _take_changes(ledger, request)


def _begin(path: Path, request: Request, model: ModelFile, accepted: Constraint) -> None:
    """Seal a new ledger under another name; it takes an older one's place when it is whole.

    Raises:
        LedgerError: what stands there is in use, or no ledger.
    """
    if path.exists() and path.stat().st_size and not is_database(path):
        raise LedgerError(f"{path} is no ledger of pifleet, and is not replaced; give another -o")
    fresh = path.with_name(path.name + "-new")
    with held(path):
        _remove(fresh)  # of a run that was killed here
        try:
            with Ledger(fresh) as ledger:
                _seal(ledger, request, model, accepted)
            _remove(path)
            fresh.replace(path)
        finally:
            _remove(fresh)


def finish(
    ledger: Ledger,
    output: Path,
    settings: Settings,
    *,
    chunk: int,
    priority: Priority = Priority.NORMAL,
) -> JobSummary:
    """Run what is left of a job, and write its submission."""
    started = time.monotonic()
    check_outputs(output, reads=source_files(ledger))
    before = ledger.counts()
    repeats = resent = 0
    if before.open:
        with ExitStack() as stack:
            client = stack.enter_context(connect(settings.redis_url))
            paced = replace(_options(settings, chunk=chunk), priority=priority)
            options = stack.enter_context(_served(ledger, paced, settings))
            repeats, resent = _run(ledger, client, options)
    write_submission(ledger, output, load_layout(ledger))
    seconds = time.monotonic() - started
    counts = ledger.counts()
    return JobSummary(
        job=ledger.spec.job,
        images=counts.total,
        read=counts.read,
        empty=count_empty(ledger),
        failed=counts.failed,
        reasons=count_reasons(ledger),
        repeats=repeats,
        resent=resent,
        seconds=round(seconds, 3),
        images_per_s=round(before.open / max(seconds, 1e-3), 1),
        csv=str(output),
        failures_csv=str(failures_path(output)),
    )


def _options(settings: Settings, *, chunk: int) -> RunOptions:
    return RunOptions(
        *(settings.redis_url, chunk), clocks=settings.clocks, is_traced=settings.is_traced
    )


def _open_run(ledger: Ledger, client: Redis, options: RunOptions) -> JobRun:
    doors = redis_doors(client, ledger.spec.job, is_traced=options.is_traced)
    return JobRun(ledger, doors, options)


def _run(ledger: Ledger, client: Redis, options: RunOptions) -> tuple[int, int]:
    total, job = ledger.counts().total, ledger.spec.job
    with closing(_open_run(ledger, client, options)) as run, shown(total, job) as report:
        progress = run.run(report)
    return progress.repeats, progress.resent


@contextmanager
def _served(ledger: Ledger, options: RunOptions, settings: Settings) -> Iterator[RunOptions]:
    """Serve the folder while the job runs, where it has one."""
    spec = ledger.spec
    if spec.served is None:
        yield options
        return
    from producer.sources.folder_server import Address, local_host_towards, serve_folder

    wanted = Address(
        host=settings.advertise_host or local_host_towards(settings.redis_url),
        port=int(ledger.get("serve_port") or 0),
        token=ledger.get("serve_token") or secrets.token_urlsafe(16),
    )
    with (
        closing(NameIndex(ledger.path)) as names,
        serve_folder(Path(spec.served), wanted, is_listed=names.has) as address,
    ):
        ledger.put("serve_port", str(address.port))
        ledger.put("serve_token", address.token)
        log.info("serving folder=%s host=%s port=%d", spec.served, address.host, address.port)
        yield replace(options, url_of=address.url_of, is_served=True)


def _seal(ledger: Ledger, request: Request, model: ModelFile, accepted: Constraint) -> None:
    folder = Path(request.source)
    is_folder = request.source != "-" and folder.is_dir()
    spec = JobSpec(
        job=secrets.token_hex(4),
        source=request.source,
        model=model.digest,
        model_name=model.card.name,
        symbols=request.symbols,
        attempts=request.attempts,
        served=str(folder.absolute()) if is_folder else None,
        rate=request.rate,
        per_host=request.per_host,
        pattern=request.pattern,
        words=accepted.words_digest,
        automaton=accepted.digest,
    )
    images: Iterator[SourceImage] = iter(open_source(request.source, index_item=request.index_item))
    total = ledger.seal(spec, images, model=model.data, automaton=accepted.pack())
    note_origin(ledger, request.source, request.index_item, request.output)
    log.info("job=%s images=%d model=%s source=%s", spec.job, total, model.card.name, spec.source)


def _take_changes(ledger: Ledger, request: Request) -> None:
    """Let a resumed job go on as fast, and as patiently, as it is asked to now."""
    asked = {name: getattr(request, name) for name in ("rate", "per_host", "attempts")}
    spec = msgspec.structs.replace(ledger.spec, **asked)
    if spec != ledger.spec:
        log.info("job=%s goes on with %s", spec.job, asked)
        ledger.change_spec(spec)


def _remove(path: Path) -> None:
    for file in (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))):
        file.unlink(missing_ok=True)
