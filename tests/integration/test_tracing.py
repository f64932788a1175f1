"""The steps as OpenTelemetry spans: what a collector gets, and which endpoint is refused."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from surroundings import bare_environment

from lse.errors import ConfigurationError
from lse.models import ProjectDay
from lse.pipeline import tracing

pytest.importorskip("opentelemetry.sdk")
from collector import Collector

DAY = ProjectDay("chat", date(2025, 9, 13))


@pytest.fixture(autouse=True)
def not_started() -> Iterator[None]:
    """No test before has settled whether this process sends spans, and none after is settled by this one."""
    tracing._tracer.cache_clear()
    yield
    tracing._tracer.cache_clear()


WORK = """
import sys
from datetime import date
from lse.errors import AccessError
from lse.models import ProjectDay, StepResult
from lse.pipeline.tracing import span

day = ProjectDay("chat", date(2025, 9, 13))
with span("full-sweep", day):
    with span("pack", day) as tell:
        tell(StepResult("pack", "done", "the summary", {"files": 3, "path": "/secret/place"}))
    try:
        with span("upload", day):
            raise AccessError("what the server said")
    except AccessError:
        pass
print(sorted(name for name in sys.modules if name.startswith("opentelemetry"))[:1])
"""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        yield server


def run(code: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    wanted = bare_environment(folder) | environment
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=wanted, capture_output=True, text=True, timeout=60
    )


def attributes(span: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes}


def test_a_collector_gets_days_counts_and_outcomes_and_no_text(collector: Collector, tmp_path: Path) -> None:
    done = run(WORK, tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)

    assert (done.returncode, done.stderr) == (0, "")
    spans = {span.name: span for span in collector.spans("lse")}
    day = {"lse.project": "chat", "lse.date": "2025-09-13"}
    assert {name: attributes(span) for name, span in spans.items()} == {
        "full-sweep": day,
        "pack": {**day, "lse.state": "done", "lse.files": 3},
        "upload": {**day, "lse.exit_code": 5, "error.type": "AccessError"},
    }
    assert {spans[step].parent_span_id for step in ("pack", "upload")} == {spans["full-sweep"].span_id}
    assert spans["upload"].status.code == spans["upload"].status.STATUS_CODE_ERROR
    sent = b"".join(collector.bodies)
    assert b"what the server said" not in sent
    assert b"secret" not in sent
    assert b"summary" not in sent


def test_without_an_endpoint_opentelemetry_is_not_even_imported(tmp_path: Path) -> None:
    done = run(WORK, tmp_path, OTEL_SERVICE_NAME="ours")

    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.parametrize(
    ("endpoint", "langsmith"),
    [
        ("https://api.smith.langchain.com/otel", "https://api.smith.langchain.com"),
        ("https://eu.api.smith.langchain.com/otel/v1/traces", "https://langsmith.example.org"),
        ("https://smith.langchain.com", "https://api.smith.langchain.com"),
        ("https://LangSmith.example.org.:4318", "https://langsmith.example.org/api/v1"),
        ("http://127.0.0.1:1984/otel", "http://127.0.0.1:1984"),
    ],
)
def test_langsmith_itself_is_refused(endpoint: str, langsmith: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
    monkeypatch.setenv("LANGSMITH_ENDPOINT", langsmith)

    with pytest.raises(ConfigurationError, match="lse would trace itself into what it archives"):
        tracing.start()


def test_the_endpoint_for_traces_goes_before_the_one_for_all_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://api.smith.langchain.com/otel/v1/traces")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")

    with pytest.raises(ConfigurationError), tracing.span("fetch", DAY):
        pass


def test_without_the_extra_it_is_said_how_to_install_it(tmp_path: Path) -> None:
    code = "import sys; sys.modules['opentelemetry.exporter.otlp.proto.http.trace_exporter'] = None\n"
    code += "from lse.cli import main; sys.argv[1:] = sys.argv[1:] or ['archive', 'full-sweep', '-p', 'chat',"
    code += " '-d', '2025-09-13', '--skip-upload']; main()"

    done = run(code, tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:4318", LANGSMITH_API_KEY="k")

    assert done.returncode == 7
    assert "pip install 'lse[otel]'" in done.stderr
