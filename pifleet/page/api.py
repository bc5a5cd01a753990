"""The JSON interface: what the page's scripts ask, and what any program with the token may."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
from aiohttp import web
from aiohttp.helpers import content_disposition_header

from contract.errors import ServiceError, SettingsError, UserError
from contract.files import failures_path
from contract.settings import Settings
from pifleet.page.board import Board, Moment, State
from pifleet.page.desk import Desk
from pifleet.page.images import JobImages
from pifleet.page.labelled import LabelledSet, labelled_path, write_labelled
from pifleet.page.links import Link, Links
from pifleet.page.messages import Begun, Choices, Done, Replay, Screen, Words, Written
from pifleet.page.reading import HereReader, Models, ReadImage, Wanted, read_by_fleet
from pifleet.page.uploads import (
    MOST_FILES,
    Upload,
    UploadedFile,
    UploadLimits,
    check_length,
    read_upload,
)
from producer.cancel import cancel as cancel_job
from producer.registry import find_output
from producer.review.estimate import Estimate
from producer.review.review import Order, Review, Said
from producer.submission import corrected_path
from recognition.charset import PRESETS

MOST_JSON = 256 * 1024
MOST_LIST = 256 * 1024 * 1024  # a list of images: two million addresses
MOST_REVIEWS = 4  # in memory, of 20 MB for a million images
KEEP_ALIVE_S = 15.0
AT_ONCE = 2  # uploads of images in memory

Result = TypeVar("Result")


@dataclass(slots=True)
class Api:
    """The handlers, and what they need.

    Attributes:
        settings: of this machine.
        board: what all pages watch.
        desk: that runs jobs.
        models: on offer.
        images: of jobs.
        links: to other pages.
        who: speaks where a request does not say who.
    """

    settings: Settings
    board: Board
    desk: Desk
    models: Models
    images: JobImages
    links: Links
    who: str
    _reader: HereReader = field(default_factory=HereReader)
    _reviews: dict[str, tuple[Review, asyncio.Lock]] = field(default_factory=dict)
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    _uploads: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    async def choices(self, request: web.Request) -> Choices:
        """List what Try offers."""
        models = await asyncio.to_thread(self.models.choices)
        return Choices(models, dict(PRESETS), bool(self.board.state.workers))

    async def read(self, request: web.Request) -> list[ReadImage]:
        """Read images: a form with files ``images``; what is wanted of the texts, and ``where``."""
        async with self._uploads:
            upload = await read_upload(request, UploadLimits(MOST_FILES + 1))
            images = upload.named("images")
            if not images or len(images) > MOST_FILES:
                raise UserError(f"{len(images)} images came along: send 1 to {MOST_FILES} at once")
            wanted = self._wanted(upload)
            if upload.fields.get("where") == "fleet":
                if not self.board.state.workers:
                    raise ServiceError("no worker is there: read here, or start `pifleet worker`")
                return await asyncio.to_thread(read_by_fleet, self.settings, wanted, images)
            async with self._reading:  # an interpreter is for one thread
                return await asyncio.to_thread(self._reader.read, wanted, images)

    async def state(self, request: web.Request) -> State:
        """Look at jobs and fleet."""
        await self.board.look()
        return self.board.state

    async def history(self, request: web.Request) -> dict[str, list[Moment]]:
        """Give the last minutes of each worker, oldest first."""
        return {name: list(moments) for name, moments in self.board.history.items()}

    async def other_pages(self, request: web.Request) -> list[Link]:
        """List Flower and Grafana, where they run."""
        return await self.links.found(request.host)

    async def begin(self, request: web.Request) -> Begun:
        """Begin a job: a form with the file ``list`` or the field ``folder``."""
        upload = await read_upload(request, UploadLimits(2, MOST_LIST, MOST_LIST))
        wanted = self._wanted(upload)
        if lists := upload.named("list"):
            data = _whole(lists[0])
            source = await asyncio.to_thread(self.desk.keep_list, lists[0].name, data)
        else:
            source = self.desk.find_folder(upload.fields.get("folder", ""))
        output = self.desk.submit(source, wanted)
        self.board.wake()
        return Begun(output.name)

    async def cancel(self, request: web.Request) -> Done:
        """End a job now; what was read stays."""
        said = await asyncio.to_thread(cancel_job, request.match_info["job"], self.settings)
        self.board.wake()
        return Done(said)

    async def collect(self, request: web.Request) -> Done:
        """Go on with a job."""
        job = self._job(request)
        self.desk.collect(job)
        self.board.wake()
        return Done(f"job {job} goes on")

    async def replay(self, request: web.Request) -> Done:
        """Try a job's failed images again."""
        job, asked = self._job(request), await read_json(request, Replay)
        self.desk.replay(job, asked.reason)
        self.board.wake()
        return Done(f"failed images of job {job} are tried again")

    async def forget_problems(self, request: web.Request) -> Done:
        """Clear what went wrong."""
        self.desk.forget_problems()
        self.board.wake()
        return Done("cleared")

    async def screen(self, request: web.Request) -> Screen:
        """Give the next images to look at: ``order``, ``after``, ``most``."""
        order: Order = _query(request, "order", Order, "least sure")
        after, most = _query(request, "after", int, 0), _query(request, "most", int, 12)
        if after < 0 or most < 0:
            raise UserError("after and most are numbers from 0 on")
        async with self._review(request) as review:
            return await asyncio.to_thread(_screen, review, order, after, most)

    async def say(self, request: web.Request) -> Estimate:
        """Note what a person says, and tell what it came to."""
        said = await read_json(request, Words)
        words = [Said(word.index, word.text) for word in said.words]
        who = said.who.strip() or self.who
        if not who.isprintable():
            raise UserError("who: give a name in one line")
        async with self._review(request) as review:
            await asyncio.to_thread(review.say, words, who=who, how=said.how)
            return await asyncio.to_thread(review.estimate)

    async def write_corrected(self, request: web.Request) -> Written:
        """Write the submission with the corrections, beside the first one."""
        async with self._review(request) as review:
            path = await asyncio.to_thread(review.write_corrected)
            wrong = sum(word.was_wrong for word in review.corrections.current().values())
            return Written(path.name, wrong)

    async def write_labelled(self, request: web.Request) -> LabelledSet:
        """Write what was looked at as a labelled set, beside the submission."""
        async with self._review(request) as review:
            folder = labelled_path(review.output)
            return await write_labelled(
                review, folder, lambda image: self.images.data(review.spec, image)
            )

    async def picture(self, request: web.Request) -> web.Response:
        """Draw one image of a job."""
        async with self._review(request) as review:
            found = await asyncio.to_thread(review.images, [int(request.match_info["index"])])
            spec = review.spec
        if not found:
            raise web.HTTPNotFound(text="the job has no such image")
        data = await self.images.picture(spec, found[0])
        headers = {"Cache-Control": "private, max-age=3600"}
        return web.Response(body=data, content_type="image/png", headers=headers)

    async def download(self, request: web.Request) -> web.StreamResponse:
        """Give one of a job's files: its submission, the failures, or the corrected one."""
        output = find_output(self.settings.state_dir, self._job(request))
        which = request.match_info["file"]
        paths = {"failures": failures_path(output), "corrected": corrected_path(output)}
        path = paths.get(which, output)
        if not path.is_file():
            raise web.HTTPNotFound(text=f"there is no {path.name} yet")
        name = content_disposition_header("attachment", filename=path.name)
        headers = {"Content-Disposition": name, "Content-Type": "text/csv; charset=utf-8"}
        return web.FileResponse(path, headers=headers)

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Tell of jobs and fleet as they change (server-sent events)."""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        with _listening(self.board) as moments:
            await response.prepare(request)
            with suppress(ConnectionResetError):  # the page was closed
                while True:
                    await response.write(await _next_event(moments))
        return response

    def _wanted(self, upload: Upload) -> Wanted:
        lexicons = upload.named("lexicon")
        return Wanted(
            model=self.models.path(upload.fields.get("model", "")),
            symbols=upload.fields.get("symbols", ""),
            pattern=upload.fields.get("pattern", ""),
            lexicon=_whole(lexicons[0]) if lexicons else None,
        )

    def _job(self, request: web.Request) -> str:
        job = request.match_info["job"]
        find_output(self.settings.state_dir, job)  # raises where there is none
        return job

    @asynccontextmanager
    async def _review(self, request: web.Request) -> AsyncIterator[Review]:
        """Hold a job's review, up to date; a restart of the job is another job."""
        job = self._job(request)
        if job not in self._reviews:
            output = find_output(self.settings.state_dir, job)
            review = await asyncio.to_thread(Review, output)
            self._reviews[job] = (review, asyncio.Lock())
            while len(self._reviews) > MOST_REVIEWS:
                del self._reviews[next(iter(self._reviews))]
        review, lock = self._reviews[job]
        async with lock:
            await asyncio.to_thread(review.refresh)
            yield review


async def read_json(request: web.Request, kind: type[Result]) -> Result:
    """Read a JSON body.

    Raises:
        HTTPException: its length is not told, or too much.
        UserError: it is of another form.
    """
    check_length(request, MOST_JSON)
    try:
        return msgspec.json.decode(await request.read() or b"{}", type=kind)
    except msgspec.DecodeError as error:
        raise UserError(f"the JSON cannot be used: {error}") from error


def answering(handler: Callable[[web.Request], Awaitable[Any]]) -> Any:
    """Make a handler of aiohttp: what is no answer yet is written as JSON."""

    async def answer(request: web.Request) -> web.StreamResponse:
        found = await handler(request)
        if isinstance(found, web.StreamResponse):
            return found
        return web.Response(body=msgspec.json.encode(found), content_type="application/json")

    return answer


def _whole(file: UploadedFile) -> bytes:
    if file.data is None:
        raise UserError(f"{file.name[:80]!r} is too large for a list")
    return file.data


def _screen(review: Review, order: Order, after: int, most: int) -> Screen:
    from recognition.model_file import parse_model

    symbols = review.spec.symbols or parse_model(review.model()).card.symbols
    images = review.screen(order, after=after, most=most)
    return Screen(images, review.estimate(), symbols, review.output.name, review.is_open)


def _query(request: web.Request, name: str, kind: Any, usual: Any) -> Any:
    try:
        return msgspec.convert(request.query.get(name, usual), kind, strict=False)
    except msgspec.ValidationError:
        raise SettingsError(name, request.query[name][:40], "what the description says") from None


def _listening(board: Board) -> Any:
    try:
        return board.listening()
    except OverflowError:
        raise web.HTTPServiceUnavailable(text="too many pages are open: close some") from None


async def _next_event(moments: AsyncIterator[bytes]) -> bytes:
    try:
        return b"data: " + await asyncio.wait_for(anext(moments), KEEP_ALIVE_S) + b"\n\n"
    except TimeoutError:
        return b": still here\n\n"
