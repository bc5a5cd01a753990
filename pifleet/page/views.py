"""The pages themselves: thin templates, which scripts fill; and the door to them."""

from __future__ import annotations

import importlib.resources
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web
from jinja2 import Environment, PackageLoader

from pifleet.page.security import Gate, check_token
from pifleet.page.uploads import check_length

HERE = Path(str(importlib.resources.files("pifleet.page")))
STATIC = HERE / "static"
JOB = "{job:[0-9a-f]{8}}"
MOST_FORM = 4096
ASKED = "Open the address that pifleet serve printed, or give the token in it."
TITLES = {401: "Who is there?", 404: "Nothing here", 429: "Slow down"}

View = Callable[[web.Request], Awaitable[web.Response]]

# Everything that is put into a page is escaped, whatever it is.
TEMPLATES = Environment(
    loader=PackageLoader("pifleet.page"), autoescape=True, trim_blocks=True, lstrip_blocks=True
)


@dataclass(frozen=True, slots=True)
class Views:
    """The pages that a person opens."""

    gate: Gate

    def pages(self) -> list[tuple[str, View]]:
        """Name the paths of the pages, each with what draws it."""
        return [
            ("/", self._page("try.html")),
            ("/jobs", self._page("jobs.html")),
            ("/fleet", self._page("fleet.html")),
            ("/review", self._page("review_jobs.html")),
            (f"/review/{JOB}", self._page("review.html")),
            ("/learn", self._page("learn_jobs.html")),
            (f"/learn/{JOB}", self._page("learn.html")),
        ]

    async def login(self, request: web.Request) -> web.Response:
        """Trade the token for a cookie; the form is for who has only the token."""
        token = request.query.get("token", "")
        if request.method == "POST":
            check_length(request, MOST_FORM)
            token = str((await request.post()).get("token", ""))
        if not token:
            return _html("problem.html", title=TITLES[401], said=ASKED, asks=True)
        check_token(self.gate, request, token.strip())
        response = _html("enter.html")
        response.set_cookie(
            self.gate.cookie,
            self.gate.open_session(),
            httponly=True,
            samesite="Strict",
            path="/",
        )
        return response

    async def logout(self, request: web.Request) -> web.Response:
        """End the session."""
        self.gate.end_session(request.cookies.get(self.gate.cookie, ""))
        response = web.json_response({"said": "logged out"})
        response.del_cookie(self.gate.cookie)
        return response

    @staticmethod
    def problem(status: int, said: str, headers: dict[str, str]) -> web.Response:
        """Draw what went wrong."""
        title = TITLES.get(status, "That did not work")
        response = _html("problem.html", status=status, title=title, said=said, asks=status == 401)
        response.headers.update(headers)
        return response

    def _page(self, template: str) -> View:
        async def show(request: web.Request) -> web.Response:
            session = request.cookies.get(self.gate.cookie, "")
            return _html(
                template,
                csrf=self.gate.csrf_token(session),
                job=request.match_info.get("job", ""),
                path=request.path,
            )

        return show


def is_for_a_person(request: web.Request) -> bool:
    """Tell a browser that opens a page from a script or a program."""
    is_page = request.headers.get("Sec-Fetch-Mode", "navigate") == "navigate"
    return is_page and "text/html" in request.headers.get("Accept", "")


def _html(template: str, *, status: int = 200, **values: Any) -> web.Response:
    text = TEMPLATES.get_template(template).render(**values)
    return web.Response(text=text, content_type="text/html", status=status)
