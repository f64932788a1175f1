"""The request rates that all processes share: exact, used up, and no reason to stop without a database."""

import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from lse.errors import TemporaryError
from lse.langsmith.http import LangSmithHttp, Patience, Rates
from lse.resources import Resources
from lse.sandbox.langsmith import LangSmithServer
from lse.settings import load_settings
from lse.store.rates import SharedRates, tenant_of

TENANT = UUID(int=1)
CALLER = """
import sys
from uuid import UUID
from lse.langsmith.http import Call, LangSmithHttp, Rates
from lse.langsmith.limits import Rate
from lse.settings import load_settings
from lse.store.rates import SharedRates
url, endpoint, since, calls = sys.argv[1:]
settings = load_settings(langsmith_endpoint=endpoint, langsmith_api_key="k")
http = LangSmithHttp(settings, rates=Rates(SharedRates(url, UUID(int=1))))
body = {"session": ["00000000-0000-0000-0000-000000000000"], "limit": 1, "start_time": since}
for _ in range(int(calls)):
    http.ask(Call("POST", "/runs/query", Rate(10, 2.0), body), len)
"""


def test_calls_are_spread_so_that_no_span_holds_too_many(database_url: str) -> None:
    rates = SharedRates(database_url, TENANT)
    begin = time.monotonic()
    waits = [begin + (rates.take(5, 10.0) or 0) for _ in range(12)]
    rates.close()

    assert [round(at - begin) for at in waits] == [0] * 5 + [10] * 5 + [20] * 2


def test_two_processes_never_get_the_same_place(database_url: str) -> None:
    shared = [SharedRates(database_url, TENANT) for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        taken = list(threads.map(lambda rates: [rates.take(10, 100.0) for _ in range(10)], shared))
    for rates in shared:
        rates.close()

    places = Counter(round(wait or 0, -2) for waits in taken for wait in waits)
    assert places == {0: 10, 100: 10, 200: 10, 300: 10}


def test_four_processes_are_never_refused_and_use_nearly_all_of_the_allowed_rate(database_url: str) -> None:
    """The limiter of the sandbox counts as the real one does, in windows of 2 s instead of 10 s."""
    recent = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() - 3600))
    with LangSmithServer(rate_limits=True, rate_scale=0.2) as server:
        command = [sys.executable, "-c", CALLER, database_url, server.url, recent, "10"]
        callers = [subprocess.Popen(command) for _ in range(4)]
        codes = [caller.wait(timeout=60) for caller in callers]
        asked = [entry for entry in server.log if entry.operation == "query_runs"]

    assert codes == [0] * 4
    assert Counter(entry.status for entry in asked) == {200: 40}
    seconds = asked[-1].time - asked[0].time
    assert 30 / seconds >= 0.85 * 10 / 2  # the first ten go at once


def test_without_an_answer_each_process_keeps_to_the_rates_by_itself(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rates = SharedRates("postgresql://lse@127.0.0.1:1/none", TENANT)

    assert [rates.take(1, 10.0), rates.take(1, 10.0)] == [None, None]
    assert [record.message[:64] for record in caplog.records] == [
        "The request rates are kept by this process alone for now: The da"
    ]


def test_a_server_that_did_not_answer_one_process_is_left_alone_by_all(database_url: str) -> None:
    settings = load_settings(langsmith_endpoint="http://127.0.0.1:1", langsmith_api_key="k")
    first, second = SharedRates(database_url, TENANT), SharedRates(database_url, TENANT)
    first.take(1, 1.0)
    patience = Patience(unreachable=0.0, total=0.0)
    here, there = (LangSmithHttp(settings, patience, Rates(each)) for each in (first, second))

    def fail() -> None:
        raise TemporaryError("no answer")

    with pytest.raises(TemporaryError, match="no answer"):
        here.retry(fail)
    with pytest.raises(TemporaryError, match="not asked again yet"):
        there.retry(fail)

    with psycopg.connect(database_url) as connection:
        assert connection.execute("select kind, severity from events").fetchall() == [
            ("source.resting", "warning")
        ]
    first.close()
    second.close()


def test_the_key_stands_nowhere_and_other_workspaces_have_rates_of_their_own() -> None:
    tenants = {
        tenant_of("https://a", "key", None),
        tenant_of("https://a", "key", "w"),
        tenant_of("https://b", "key", None),
    }

    assert len(tenants) == 3


def test_resources_share_the_rates_where_a_database_is_set(database_url: str, tmp_path: Path) -> None:
    with Resources(
        load_settings(database_url=database_url, langsmith_api_key="k", state_dir=tmp_path)
    ) as opened:
        opened.rates.rest(60)
        opened.rates._shared.take(1, 1.0)  # type: ignore[union-attr]
        opened.rates.rest(60)
    with Resources(
        load_settings(database_url=database_url, langsmith_api_key="k", state_dir=tmp_path)
    ) as other:
        assert other.rates.resting
    with Resources(load_settings(langsmith_api_key="k", state_dir=tmp_path)) as alone:
        assert not alone.rates.resting
