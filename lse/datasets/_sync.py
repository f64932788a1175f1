"""Bring a LangSmith dataset to the examples of a file: look first, then add, replace and remove what differs.

Ids follow from the dataset's name and the example's key, so what was sent is recognised: a sync that broke
off, or whose answers were lost, goes on with what is missing. All requests go through the SDK's own client.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID

import msgspec
from langsmith import Client
from msgspec import Struct

from lse.datasets import Example
from lse.datasets._examples import example_id
from lse.datasets._hashing import canonical
from lse.errors import TemporaryError
from lse.langsmith.http import Call, Conflict, LangSmithHttp, NotServed, TooMuch
from lse.langsmith.limits import LIMITS
from lse.models import Progress

Item = TypeVar("Item")
Examples = Mapping[UUID, Example]
Send = Callable[[Client, UUID, Examples], object]

_PAGE = 100
_IDS_AT_ONCE = 50
"""Ids travel in the URL, 48 bytes each; proxies refuse URLs from 4 to 8 kB on."""
_BATCH_EXAMPLES = 100
_BATCH_BYTES = 4_000_000
"""LangSmith takes 20 MB at a time; smaller batches lose less to a broken connection."""
_ROUNDS = 3
_WHOLE = ["base"]
"""The split that LangSmith gives to an example without one."""
_GONE = Example({}, {}, {})


@dataclass(frozen=True)
class Plan:
    """What a sync will do, by the ids of examples in LangSmith."""

    dataset: str
    dataset_id: UUID | None
    """None when LangSmith has no such dataset yet."""
    add: Examples
    replace: Examples
    remove: Sequence[UUID]
    unchanged: int
    kept_changed: int
    """Examples that differ and stay as they are, since nothing was to be replaced."""
    kept_extra: int
    """Examples that only LangSmith has and that stay, since nothing was to be removed."""

    @property
    def writes(self) -> int:
        """How many examples will be added, replaced or removed."""
        return len(self.add) + len(self.replace) + len(self.remove)


def plan_sync(
    http: LangSmithHttp, name: str, examples: Mapping[str, Example], *, overwrite: bool, prune: bool
) -> Plan:
    """What brings the dataset called `name` to `examples`, which are by key. Writes nothing.

    Without `overwrite`, examples that differ stay as they are; without `prune`, so do those that only
    LangSmith has.
    """
    wanted = {example_id(name, key): example for key, example in examples.items()}
    dataset_id = next((found.id for found in http.call(_dataset_called(name), _datasets)), None)
    found = _compare(wanted, _sent_examples(http, dataset_id)) if dataset_id else _Compared()
    known = found.same | found.changed
    return Plan(
        dataset=name,
        dataset_id=dataset_id,
        add={id: example for id, example in wanted.items() if id not in known},
        replace={id: wanted[id] for id in sorted(found.changed)} if overwrite else {},
        remove=sorted(found.extra) if prune else [],
        unchanged=len(found.same),
        kept_changed=0 if overwrite else len(found.changed),
        kept_extra=0 if prune else len(found.extra),
    )


def sync(
    http: LangSmithHttp,
    name: str,
    examples: Mapping[str, Example],
    *,
    description: str,
    overwrite: bool,
    prune: bool,
    progress: Progress,
) -> Plan:
    """Do what `plan_sync` says, and look whether it was done; the plan that was carried out.

    Raises `TemporaryError` when LangSmith does not answer, or does not keep what it accepted; the next sync
    goes on with what is missing.
    """
    first = plan = plan_sync(http, name, examples, overwrite=overwrite, prune=prune)
    for _ in range(_ROUNDS):
        if plan.dataset_id and not plan.writes:
            return first
        _carry_out(http, plan, description, progress)
        # A page from something in between, with status 200, looks like success to the SDK.
        plan = plan_sync(http, name, examples, overwrite=overwrite, prune=prune)
    if plan.writes:
        raise TemporaryError(
            f"LangSmith accepted the examples of {name!r} and does not have {plan.writes} of the changes.",
            hint="Try again later.",
        )
    return first


def _carry_out(http: LangSmithHttp, plan: Plan, description: str, progress: Progress) -> None:
    """Do what `plan` says, batch by batch."""
    dataset_id = plan.dataset_id or _create(http, plan.dataset, description)
    target = _Target(http, dataset_id)
    work = [(target.add, batch) for batch in _batches(plan.add)]
    work += [(target.replace, batch) for batch in _batches(plan.replace)]
    work += [(target.remove, dict.fromkeys(ids, _GONE)) for ids in _some(plan.remove, _IDS_AT_ONCE)]
    done = 0
    for send, batch in work:
        send(batch)
        done += len(batch)
        progress(done, plan.writes)


class _Target:
    """One dataset in LangSmith, written to so that doubt about an answer is resolved by looking."""

    def __init__(self, http: LangSmithHttp, dataset_id: UUID) -> None:
        self._http = http
        self._id = dataset_id

    def add(self, batch: Examples) -> None:
        """Add examples; after a lost answer only those that are not there."""
        self._in_halves(batch, lambda some: self._surely(some, _create_examples, self._missing))

    def replace(self, batch: Examples) -> None:
        """Replace examples; doing it twice is doing it once."""
        self._in_halves(batch, lambda some: self._surely(some, _update_examples, list))

    def remove(self, batch: Examples) -> None:
        """Remove examples; after a lost answer only those that are still there."""
        self._surely(batch, _delete_examples, self._existing)

    def _surely(self, batch: Examples, send: Send, to_do: Callable[[Iterable[UUID]], Iterable[UUID]]) -> None:
        """Send `batch`, and after any doubt only what `to_do` says of it."""
        attempts = itertools.count()

        def attempt() -> None:
            number = next(attempts)
            left = batch if number == 0 else {id: batch[id] for id in to_do(batch)}
            try:
                if left:
                    self._http.sdk("examples", lambda client: send(client, self._id, left))
            except (Conflict, NotServed) as error:  # done already: something on the way sent it twice
                if number:
                    raise
                raise TemporaryError(error.message) from None

        self._http.retry(attempt)

    def _in_halves(self, batch: Examples, send: Callable[[Examples], None]) -> None:
        """Send `batch`; when the server says that it is too large, each half on its own."""
        try:
            send(batch)
        except TooMuch as error:
            if error.weight < 2 or len(batch) < 2:
                raise
            for some in _some(list(batch), (len(batch) + 1) // 2):
                self._in_halves({id: batch[id] for id in some}, send)

    def _existing(self, ids: Iterable[UUID]) -> set[UUID]:
        """Those of `ids` that are there; asked once, for use within a retried attempt."""
        found: set[UUID] = set()
        for some in _some(list(ids), _IDS_AT_ONCE):
            found |= {sent.id for sent in self._http.ask(_examples_of(self._id, id=list(some)), _examples)}
        return found

    def _missing(self, ids: Iterable[UUID]) -> list[UUID]:
        wanted = list(ids)
        existing = self._existing(wanted)
        return [id for id in wanted if id not in existing]


@dataclass
class _Compared:
    """The examples of a dataset in LangSmith beside those of a file."""

    same: set[UUID] = field(default_factory=set)
    changed: set[UUID] = field(default_factory=set)
    extra: set[UUID] = field(default_factory=set)


def _compare(wanted: Examples, sent: Iterable["_Sent"]) -> _Compared:
    found = _Compared()
    for example in sent:
        if example.id not in wanted:
            found.extra.add(example.id)
        elif _content(example.inputs, example.outputs, example.metadata) == _own_content(wanted[example.id]):
            found.same.add(example.id)
        else:
            found.changed.add(example.id)
    return found


def _own_content(example: Example) -> Any:
    return _content(example.inputs, example.outputs, example.metadata)


def _content(inputs: Any, outputs: Any, metadata: Any) -> Any:
    """What must be equal: all but the window, which a rolling dataset changes for every example."""
    about = {
        "dataset_split": ["base"],
        **(metadata or {}),
    }
    about.pop("window", None)
    return inputs or {}, outputs or {}, about


def _create(http: LangSmithHttp, name: str, description: str) -> UUID:
    """The id of the dataset, made unless an attempt whose answer was lost has made it."""

    def attempt() -> UUID:
        found = http.ask(_dataset_called(name), _datasets)
        if found:
            return found[0].id
        return http.sdk("datasets", lambda client: client.create_dataset(name, description=description)).id

    return http.retry(attempt)


def _sent_examples(http: LangSmithHttp, dataset_id: UUID) -> Iterator["_Sent"]:
    """Every example in LangSmith; each page is tried again on its own."""
    for offset in itertools.count(0, _PAGE):
        page = http.call(_examples_of(dataset_id, offset=offset), _examples)
        yield from page
        if len(page) < _PAGE:
            return


class _Sent(Struct, frozen=True):
    """An example as LangSmith has it."""

    id: UUID
    inputs: dict[str, Any] | None = None
    outputs: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None


class _Named(Struct, frozen=True):
    """A dataset as LangSmith has it."""

    id: UUID
    name: str


def _dataset_called(name: str) -> Call:
    return Call("GET", "/datasets", LIMITS["general"], query={"name": name, "limit": 1})


def _examples_of(dataset_id: UUID, **which: Any) -> Call:
    query = {"dataset": str(dataset_id), "limit": _PAGE, "inline_s3_urls": "true", **which}
    return Call("GET", "/examples", LIMITS["general"], query=query)


def _datasets(answer: bytes) -> list[_Named]:
    return _read(answer, list[_Named])


def _examples(answer: bytes) -> list[_Sent]:
    return _read(answer, list[_Sent])


def _read(answer: bytes, kind: type[Item]) -> Item:
    """What an answer says. The SDK takes `{}` for an empty list, and would have everything sent anew."""
    try:
        return msgspec.json.decode(answer, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise TemporaryError(
            "LangSmith's list of examples cannot be read.", hint="Try again later."
        ) from None


def _create_examples(client: Client, dataset_id: UUID, batch: Examples) -> None:
    sent = [{"id": id, "reference_outputs": one.outputs, **_parts(one)} for id, one in batch.items()]
    client.create_examples(dataset_id=dataset_id, examples=sent)


def _update_examples(client: Client, dataset_id: UUID, batch: Examples) -> None:
    sent = [
        {"id": id, "dataset_id": dataset_id, "outputs": one.outputs, **_parts(one)}
        for id, one in batch.items()
    ]
    client.update_examples(dataset_id=dataset_id, updates=sent)


def _delete_examples(client: Client, dataset_id: UUID, batch: Examples) -> None:  # noqa: ARG001 - one form of all
    client.delete_examples(list(batch))


def _parts(example: Example) -> dict[str, Any]:
    """Inputs, metadata and split; LangSmith takes the last two apart."""
    metadata = dict(example.metadata)
    split = metadata.pop("dataset_split", _WHOLE)
    return {"inputs": example.inputs, "split": split, "metadata": metadata}


def _batches(examples: Examples) -> Iterator[Examples]:
    """`examples` in batches of bounded number and size; one that is larger goes alone."""
    batch: dict[UUID, Example] = {}
    size = 0
    for id, example in examples.items():
        length = len(canonical(example.document()))
        if batch and (len(batch) == _BATCH_EXAMPLES or size + length > _BATCH_BYTES):
            yield batch
            batch, size = {}, 0
        batch[id] = example
        size += length
    if batch:
        yield batch


def _some(items: Sequence[Item], number: int) -> Iterator[Sequence[Item]]:
    return (items[first : first + number] for first in range(0, len(items), number))
