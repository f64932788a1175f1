"""Datasets and their examples, in memory."""

import json
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lse.sandbox.langsmith import times
from lse.sandbox.langsmith.ingest import Part, members, value
from lse.sandbox.langsmith.projects import TENANT
from lse.sandbox.langsmith.query import BadRequest
from lse.sandbox.langsmith.runs import Attachment, lenient

_FIELDS = ("id", "dataset_id", "source_run_id", "name", "inputs", "outputs", "metadata")


@dataclass(eq=False)
class Example:
    """One example: exact JSON texts of its members, and its files."""

    members: dict[str, bytes]
    id: str
    dataset_id: str
    created: datetime
    modified: datetime
    files: dict[str, Attachment] = field(default_factory=dict)

    def text(self, presigned: Callable[[str], str]) -> bytes:
        """The example as the API shows it."""
        urls = {
            f"attachment.{name}": {"presigned_url": presigned(item.blob), "mime_type": item.mime_type}
            for name, item in self.files.items()
        }
        added = {
            "id": self.id,
            "dataset_id": self.dataset_id,
            "created_at": times.naive(self.created),
            "modified_at": times.naive(self.modified),
            "attachment_urls": urls or None,
        }
        shown = {key: self.members.get(key, b"null") for key in _FIELDS}
        shown |= {key: json.dumps(item).encode() for key, item in added.items()}
        return b"{" + b",".join(json.dumps(key).encode() + b":" + text for key, text in shown.items()) + b"}"


@dataclass(eq=False)
class Dataset:
    """One dataset: what its creator sent, and its examples in order of arrival."""

    values: dict[str, Any]
    id: str
    name: str
    created: datetime
    modified: datetime
    examples: dict[str, Example] = field(default_factory=dict)

    def shown(self) -> dict[str, Any]:
        """The dataset as the API shows it."""
        return {
            "description": None,
            "data_type": "kv",
            "inputs_schema_definition": None,
            "outputs_schema_definition": None,
            "externally_managed": False,
            "transformations": None,
            "metadata": None,
            **self.values,
            "id": self.id,
            "name": self.name,
            "tenant_id": TENANT,
            "created_at": times.naive(self.created),
            "modified_at": times.naive(self.modified),
            "example_count": len(self.examples),
            "session_count": 0,
            "last_session_start_time": None,
        }


class Datasets:
    """All datasets; examples are found by id."""

    def __init__(self) -> None:
        self._by_id: dict[str, Dataset] = {}

    def all(self) -> list[Dataset]:
        """Every dataset, latest first."""
        return sorted(self._by_id.values(), key=lambda item: (item.created, item.id), reverse=True)

    def get(self, dataset_id: str) -> Dataset:
        """The dataset with this id; `BadRequest` (404) without one."""
        found = self._by_id.get(dataset_id.lower())
        if found is None:
            raise BadRequest("Dataset not found", 404)
        return found

    def create(self, values: dict[str, Any], now: datetime) -> Dataset:
        """A dataset of an unused name; `BadRequest` (409) when the name is taken."""
        name = values.get("name")
        if not isinstance(name, str) or not name:
            raise BadRequest("a dataset needs a name", 422)
        if any(item.name == name for item in self._by_id.values()):
            raise BadRequest(f"Dataset with name {name!r} already exists.", 409)
        stated = values.get("id")
        dataset_id = stated.lower() if isinstance(stated, str) else str(uuid.uuid5(uuid.UUID(TENANT), name))
        dataset = Dataset(values, dataset_id, name, times.moment(values.get("created_at")) or now, now)
        self._by_id[dataset_id] = dataset
        return dataset

    def drop(self, dataset: Dataset) -> None:
        """Forget a dataset with its examples."""
        del self._by_id[dataset.id]

    def example(self, example_id: str) -> Example:
        """The example with this id; `BadRequest` (404) without one."""
        for dataset in self._by_id.values():
            if found := dataset.examples.get(example_id.lower()):
                return found
        raise BadRequest("Example not found", 404)

    def refuse_known(self, ids: Iterable[str]) -> None:
        """`BadRequest` (409) when one of `ids` is taken: nothing of an upload is stored then.

        What LangSmith itself does is not documented; this is the answer that is hardest on a client.
        """
        known = {example_id for dataset in self._by_id.values() for example_id in dataset.examples}
        if any(example_id.lower() in known for example_id in ids):
            raise BadRequest("Example already exists", 409)

    def change(self, example_id: str, sent: Mapping[str, bytes], now: datetime) -> None:
        """Put other members into an example, those that `sent` names; `BadRequest` (404) without one."""
        example = self.example(example_id)
        found = {key: sent[key] for key in ("inputs", "outputs") if key in sent}
        if "metadata" in sent or "split" in sent:
            values = {key: lenient(sent[key]) for key in ("split", "metadata") if key in sent}
            found["metadata"] = _metadata(sent.get("metadata", b"{}"), values)
        example.members |= found
        example.modified = now

    def add(self, dataset_id: str, sent: Mapping[str, bytes], now: datetime, example_id: str = "") -> Example:
        """A new example from the members that a client sent; its `split` goes into the metadata."""
        dataset = self.get(dataset_id)
        values = {key: lenient(sent[key]) for key in ("id", "created_at", "split", "metadata") if key in sent}
        stated = values.get("id")
        chosen = example_id or (stated if isinstance(stated, str) else str(uuid.uuid4()))
        found = {key: text for key, text in sent.items() if key in _FIELDS and text != b"null"}
        found["metadata"] = _metadata(found.get("metadata", b"{}"), values)
        created = times.moment(values.get("created_at")) or now
        example = Example(found, chosen.lower(), dataset.id, created, now)
        dataset.examples[example.id] = example
        return example


def _metadata(text: bytes, values: Mapping[str, Any]) -> bytes:
    """The metadata with LangSmith's `dataset_split`; the text is kept when the client put it there."""
    known = values.get("metadata") or {}
    if not isinstance(known, dict):
        raise BadRequest("metadata must be an object", 422)
    if "dataset_split" in known:
        return text
    split = values.get("split") or ["base"]
    splits = split if isinstance(split, list) else [split]
    return json.dumps({**known, "dataset_split": splits}).encode()


def multipart_examples(parts: Iterable[Part]) -> dict[str, tuple[dict[str, bytes], dict[str, Part]]]:
    """The members and files per example id of an upload: `<id>`, `<id>.inputs`, `<id>.attachment.<name>`."""
    found: dict[str, tuple[dict[str, bytes], dict[str, Part]]] = {}
    for part in parts:
        example_id, _, rest = part.name.partition(".")
        texts, files = found.setdefault(example_id.lower(), ({}, {}))
        kind, _, name = rest.partition(".")
        if not rest:
            texts.update(members(part.content))
        elif kind == "attachment" and name:
            files[name] = part
        elif rest in ("inputs", "outputs"):
            texts[rest] = value(part.content)
        else:
            raise BadRequest("unknown part of an example", 422)
    return found
