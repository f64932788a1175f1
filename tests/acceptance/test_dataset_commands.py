"""Datasets as their users make them: built, looked at, uploaded, evaluated, and on schedule."""

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from commands import KEY, LAST_DAY, PROJECT, RECIPE, Lse, Written
from langsmith import Client

REDACTING = f"{RECIPE}redact: [email]\n"
DAY = ("--project", PROJECT, "--date", str(LAST_DAY))


@pytest.fixture
def ready(lse: Lse) -> Lse:
    """A day of traces in the store, and a recipe of one's own."""
    assert lse("archive", "full-sweep", *DAY, "--skip-upload").code == 0
    folder = lse.folder / "recipes"
    folder.mkdir()
    (folder / "asked.yaml").write_text(REDACTING)
    lse.settings["LSE_RECIPES_DIR"] = str(folder)
    return lse


def create(lse: Lse, *more: str) -> Any:
    return lse("eval", "create-dataset", *DAY, "--recipe", "asked", *more)


def test_a_dataset_is_built_listed_shown_and_compared(ready: Lse) -> None:
    done = create(ready, "--output", "asked.jsonl", "--json")
    text = (ready.folder / "asked.jsonl").read_bytes()
    assert (done.code, done.json["examples"]) == (0, 5)
    assert done.json["content_sha256"] == hashlib.sha256(text).hexdigest()
    assert "1 of 1 days complete" in done.err
    assert "5 traces considered, 5 kept" in done.err
    coverage = done.json["coverage"]
    assert (coverage["days"], coverage["complete"], coverage["missing"]) == (1, 1, [])

    again = ready("eval", "create-dataset", *DAY, "--eval-type", "asked", "--output", "again.jsonl")
    assert again.code == 0
    assert (ready.folder / "again.jsonl").read_bytes() == text

    [listed] = ready("eval", "list", "--json").json
    shown = ready("eval", "show", listed["id"], "--json").json
    assert Path(shown["file"]).read_bytes() == text
    assert (shown["recipe"], shown["start"], shown["considered"]) == ("asked", str(LAST_DAY), 5)

    (ready.folder / "other.jsonl").write_bytes(b"".join(text.splitlines(keepends=True)[1:]))
    assert ready("eval", "diff", "asked.jsonl", listed["id"]).code == 0
    different = ready("eval", "diff", "asked.jsonl", "other.jsonl")
    assert (different.code, different.out.splitlines()[-1]) == (3, "0 added, 1 removed, 0 changed")


@pytest.mark.parametrize("name", ["d.csv", "d.parquet"])
def test_the_name_of_the_file_says_its_form(ready: Lse, name: str) -> None:
    assert create(ready, "--output", name).code == 0
    content = (ready.folder / name).read_bytes()
    assert content.startswith(
        b"PAR1" if name.endswith("parquet") else b"inputs.question,outputs.sources,metadata\n"
    )


def test_without_a_name_each_form_has_a_file_of_its_own(ready: Lse) -> None:
    named = create(ready, "--json").json["file"]
    before = (ready.folder / named).read_bytes()
    assert create(ready, "--format", "csv", "--json").json["file"] == named.replace(".jsonl", ".csv")
    assert (ready.folder / named).read_bytes() == before


def test_no_example_is_said_with_exit_code_3_and_nothing_is_written(ready: Lse) -> None:
    done = ready("eval", "create-dataset", *DAY, "--recipe", "token_name", "--output", "d.jsonl", "--json")
    assert done.code == 3
    assert "5 traces considered, 0 kept; 5 dropped: " in done.json["error"]["message"]
    assert not (ready.folder / "d.jsonl").exists()


def test_wrong_commands_say_what_is_wrong(ready: Lse) -> None:
    assert (
        "no choice of a hundred"
        in ready("eval", "create-dataset", *DAY, "--recipe", "website", "--best-100").err
    )
    assert "There is no recipe 'nothing'" in ready("eval", "create-dataset", *DAY, "--recipe", "nothing").err
    assert "LSE_EVAL_SECRET" in ready(*RUN, "--endpoint", "https://evaluations.example").err
    assert ready("eval", "upload", "--dataset", "nothing").code == 2
    assert "availability-best-100" in ready("eval", "recipes").out


def test_a_dataset_is_uploaded_and_a_second_time_nothing_is_written(ready: Lse, written: Written) -> None:
    create(ready, "--output", "asked.jsonl")
    dry = ready("eval", "upload", "--dataset", "asked.jsonl", "--dry-run", "--json")
    assert (dry.code, len(dry.json["add"]), dry.json["unchanged"]) == (0, 5, 0)
    done = ready("eval", "upload", "--dataset", "asked.jsonl")
    assert (done.code, done.out) == (0, "asked: 5 added, 0 replaced, 0 removed, 0 unchanged\n")
    again = ready("eval", "upload", "--dataset", "asked.jsonl")
    assert (again.code, again.out) == (0, "asked: 0 added, 0 replaced, 0 removed, 5 unchanged\n")

    client = Client(api_url=written.sandbox.langsmith.url, api_key=KEY, auto_batch_tracing=False)
    found = {json.dumps([one.inputs, one.outputs]) for one in client.list_examples(dataset_name="asked")}
    client.close()
    lines = (ready.folder / "asked.jsonl").read_text().splitlines()
    assert found == {json.dumps([json.loads(line)["inputs"], json.loads(line)["outputs"]]) for line in lines}

    text = (ready.folder / "asked.jsonl").read_text().replace('"question":"', '"question":"Changed: ')
    (ready.folder / "asked.jsonl").write_text(text)
    changed = ready("eval", "upload", "--dataset", "asked.jsonl")
    assert changed.code == 3
    assert "5 differ and stay (--overwrite replaces them)" in changed.out


RUN = ("eval", "run", "--dataset-name", "asked", "--experiment-prefix", "nightly", "--eval-type", "website")


class _Service(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        signature = "sha256=" + hmac.new(b"s3cret", body, "sha256").hexdigest()
        good = hmac.compare_digest(signature, self.headers["X-Signature"])
        answer = json.dumps({"accepted": good, "\x1b[31m": 1}).encode()
        self.send_response(202 if good else 401)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def endpoint() -> Iterator[str]:
    """An evaluation service that checks signatures."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Service) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/evaluate"
        server.shutdown()
        thread.join()


def test_an_evaluation_is_asked_for_shown_and_recorded(lse: Lse, endpoint: str) -> None:
    done = lse(*RUN, "--json", LSE_EVAL_ENDPOINT=endpoint, LSE_EVAL_SECRET="s3cret")
    assert (done.code, done.json["status"], json.loads(done.json["answer"])["accepted"]) == (0, 202, True)
    refused = lse(*RUN, "--endpoint", endpoint, LSE_EVAL_SECRET="wrong")
    assert (refused.code, "refused (401)" in refused.err, '"accepted": false' in refused.out) == (
        5,
        True,
        True,
    )
    legacy = lse(*RUN, "--endpoint", endpoint, "--legacy")
    assert legacy.code == 5

    listed = lse("eval", "requests", "--json").json
    assert [(one["status"], one["legacy"]) for one in listed] == [(401, True), (401, False), (202, False)]
    assert listed[2]["request_id"] == done.json["request_id"]
