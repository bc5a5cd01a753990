"""A collector of OpenTelemetry's: keeps the spans that come in by OTLP over HTTP."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True, slots=True)
class SeenSpan:
    """A span as it came in."""

    service: str
    name: str
    trace: bytes
    own: bytes
    parent: bytes
    seconds: float
    about: dict[str, str]


@dataclass(slots=True)
class Collector:
    """A running one."""

    url: str
    spans: list[SeenSpan] = field(default_factory=list)

    @property
    def env(self) -> dict[str, str]:
        """The variables by which programs find it; they send every tenth of a second."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}

    def named(self, name: str) -> list[SeenSpan]:
        """Find the spans of a name."""
        return [span for span in self.spans if span.name == name]

    def take(self, body: bytes) -> None:
        """Take one request in."""
        for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            resource = _texts(of_resource.resource.attributes)
            for span in (one for scope in of_resource.scope_spans for one in scope.spans):
                self.spans.append(
                    SeenSpan(
                        *(resource["service.name"], span.name),
                        *(span.trace_id, span.span_id, span.parent_span_id),
                        (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
                        _texts(span.attributes),
                    )
                )


@contextmanager
def collector() -> Iterator[Collector]:
    """Run one on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            running.take(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        running = Collector(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield running
        finally:
            server.shutdown()
            thread.join()


def _texts(attributes: object) -> dict[str, str]:
    found = {one.key: one.value for one in attributes}  # type: ignore[attr-defined]  # protobuf's
    return {key: value.string_value or str(value.int_value) for key, value in found.items()}
