"""The steps as OpenTelemetry spans, for those who set OTEL_EXPORTER_OTLP_ENDPOINT; for all others nothing.

A span tells the project day, the step, its outcome and its counts, and nothing that stands in a trace. Below
a flow of Prefect it is a child of the task's span.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lse import __version__
from lse.errors import ConfigurationError, LseError
from lse.models import ProjectDay, StepResult
from lse.settings import load_settings

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""What says, by OpenTelemetry's specification, where spans are sent; the first that is set counts."""

_LANGSMITH = "smith.langchain.com"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def start() -> None:
    """Have spans sent from here on, also those of Prefect, if the environment says where to.

    Raises `ConfigurationError` when that is LangSmith, or the extra `otel` is not installed.
    """
    _tracer()


@contextmanager
def span(name: str, day: ProjectDay) -> Iterator[Callable[[StepResult], None]]:
    """A span called `name` around the block, which gets a function that writes a step's outcome to it.

    What the block raises marks the span by its kind alone. Raises what `start` raises.
    """
    tracer = _tracer()
    if tracer is None:
        yield lambda result: None  # noqa: ARG005
        return
    facts = {"lse.project": day.project, "lse.date": day.day.isoformat()}
    with tracer.start_as_current_span(
        name, attributes=facts, record_exception=False, set_status_on_exception=False
    ) as opened:
        try:
            yield lambda result: _tell(opened, result)
        except Exception as error:  # whatever it is, it marks the span and goes on
            _fail(opened, error.exit_code if isinstance(error, LseError) else LseError.exit_code)
            opened.set_attribute("error.type", type(error).__name__)
            raise


def _tell(opened: "Span", result: StepResult) -> None:
    """Write the state and the counts of a step to its span; figures that are text are left out."""
    counts = {
        f"lse.{name}": value for name, value in result.figures.items() if isinstance(value, int | float)
    }
    opened.set_attributes({"lse.state": result.state, **counts})
    if result.exit_code:
        _fail(opened, result.exit_code)


def _fail(opened: "Span", exit_code: int) -> None:
    from opentelemetry.trace import StatusCode

    opened.set_attribute("lse.exit_code", exit_code)
    opened.set_status(StatusCode.ERROR)


@cache
def _tracer() -> "Tracer | None":
    """What makes spans, set up once for this process; OpenTelemetry is imported only where it is used."""
    endpoint = next(filter(None, map(os.environ.get, _ENDPOINTS)), None)
    if endpoint is None or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    _require_other_than_langsmith(endpoint, load_settings().langsmith_endpoint)
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise ConfigurationError(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, but the extra `otel` is not installed.",
            hint="Type: pip install 'lse[otel]'; or unset the variable.",
        ) from None
    from opentelemetry import trace

    called = {SERVICE_NAME: os.environ.get("OTEL_SERVICE_NAME") or "lse"}
    provider = TracerProvider(resource=Resource.create(called))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return trace.get_tracer("lse", __version__)


def _require_other_than_langsmith(endpoint: str, langsmith: str) -> None:
    """Raise where `endpoint` is LangSmith's: `lse` would trace itself into what it archives.

    Two servers may share a loopback address; anywhere else a host is LangSmith's at each of its ports.
    """
    given, source = urlsplit(endpoint), urlsplit(langsmith)
    host = (given.hostname or "").rstrip(".")
    at_home = host in _LOOPBACK and given.port != source.port
    if host == _LANGSMITH or host.endswith(f".{_LANGSMITH}") or (host == source.hostname and not at_home):
        raise ConfigurationError(
            f"OpenTelemetry's endpoint is LangSmith ({host}): lse would trace itself into what it archives.",
            hint=f"Point {_ENDPOINTS[1]} to a collector of your own, or unset it.",
        )
