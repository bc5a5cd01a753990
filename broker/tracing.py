"""What became of one chunk, as spans for a collector of OpenTelemetry; the extra ``tracing``.

The producer's span lasts from the sending of a delivery to its answer. Its context goes with the
notice, and what the worker does hangs beneath it. This module is imported only where one of
OpenTelemetry's own variables names a collector; elsewhere there is neither span nor header.

Source: W3C Trace Context, https://www.w3.org/TR/trace-context.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from broker.keys import TRACEPARENT

if TYPE_CHECKING:
    from broker.chunks import Notice

log = logging.getLogger(__name__)

LEAVE_S = 2.0  # a collector that is away holds nobody up for longer at the end
PROPAGATOR = TraceContextTextMapPropagator()


class SentTraces:
    """The producer's end: a span for each delivery that is out."""

    def __init__(self) -> None:
        self._spans = _Spans("pifleet-producer")
        self._out: dict[str, Span] = {}

    def sent(self, notice: Notice, *, images: int) -> str:
        """Begin the span of a delivery, and write the ``traceparent`` that its notice carries."""
        about = {**_about(notice), "pifleet.images": images}
        span = self._spans.tracer.start_span("chunk", kind=SpanKind.PRODUCER, attributes=about)
        self._out[notice.task_id()] = span
        headers: dict[str, str] = {}
        PROPAGATOR.inject(headers, set_span_in_context(span))
        return headers[TRACEPARENT]

    def ended(self, task_id: str, outcome: str, *, is_answer: bool) -> None:
        """End the span of a delivery; one that an earlier run sent has none here."""
        span = self._out.pop(task_id, None)
        if span is None:
            return
        span.set_attribute("pifleet.outcome", outcome)
        if not is_answer:
            span.set_status(StatusCode.ERROR, outcome)
        span.end()

    def close(self) -> None:
        """Hand over what was not sent yet."""
        self._spans.close()


class ReadTraces:
    """A worker's end, in one of its processes: the chunk in hand."""

    def __init__(self) -> None:
        self._spans = _Spans("pifleet-worker")
        self.tracer: Tracer = self._spans.tracer

    def chunk(
        self, notice: Notice, traceparent: str, worker: str
    ) -> AbstractContextManager[object]:
        """Make the reading of a chunk part of what its producer began, if that is traced too."""
        parent = PROPAGATOR.extract({TRACEPARENT: traceparent})
        about = {**_about(notice), "pifleet.worker": worker}
        return self.tracer.start_as_current_span(
            "read chunk", context=parent, kind=SpanKind.CONSUMER, attributes=about
        )

    def step(self, name: str) -> AbstractContextManager[object]:
        """Note a step of the chunk in hand."""
        return self.tracer.start_as_current_span(name)

    def close(self) -> None:
        """Hand over what was not sent yet."""
        self._spans.close()


class _Spans:
    """Where spans go out, from a thread of its own: made after the fork, where there is one."""

    def __init__(self, service: str) -> None:
        # It has a line for each try; ours is one for each time that the collector goes.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        named = OTELResourceDetector().detect()  # what the operator calls it wins
        resource = Resource.create({SERVICE_NAME: service}).merge(named)
        self._exporter = _Exporter()
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self.tracer = self._provider.get_tracer(__name__)

    def close(self) -> None:
        give_up = threading.Timer(LEAVE_S, self._exporter.shutdown)
        give_up.start()
        self._provider.shutdown()
        give_up.cancel()


class _Exporter(OTLPSpanExporter):
    """Says once that nobody takes the spans."""

    _is_away = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = super().export(spans)
        is_away = result is not SpanExportResult.SUCCESS
        if is_away and not self._is_away:
            log.warning("traces are lost: %s takes none (see OTEL_EXPORTER_OTLP_*)", self._endpoint)
        self._is_away = is_away
        return result


def _about(notice: Notice) -> dict[str, str | int]:
    return {"pifleet.job": notice.job, "pifleet.delivery": notice.delivery}
