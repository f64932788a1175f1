"""What a load reads before it asks the store: runs, each once, and the feedback on them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from msgspec import Struct

from lse.models import RawFeedback, RawRun, Trace, content_digest

BATCH_BYTES = 2**24
"""A batch ends at this many bytes of text, so that large runs do not fill the memory."""


class Item(Struct, gc=False):
    """A run on its way into the store."""

    raw: RawRun
    digest: bytes


Key = bytes
"""What a run is known by: trace id and run id, 16 bytes each."""


@dataclass(slots=True)
class Batch:
    """Runs, each once, and feedback; read as far as they were asked for."""

    source: Iterator[RawRun | RawFeedback]
    most_runs: int
    runs: dict[Key, Item] = field(default_factory=dict)
    feedback: list[RawFeedback] = field(default_factory=list)
    read: int = 0
    """Runs read, repetitions included."""
    size: int = 0
    """Bytes of text."""

    def read_on(self) -> Iterator[Item]:
        """The runs until the batch is full, each as it is read.

        Of a run that comes twice `runs` holds the last, but never an unfinished one after a finished one.
        """
        for part in self.source:
            if isinstance(part, RawFeedback):
                self.feedback.append(part)
                continue
            item = Item(part, content_digest(part.text))
            key = key_of(part)
            earlier = self.runs.get(key)
            if earlier is None or part.ended or not earlier.raw.ended:
                self.runs[key] = item
            self.read += 1
            self.size += len(part.text)
            yield item
            if self.is_full:
                return

    @property
    def is_full(self) -> bool:
        """Whether there may be more to read, in another batch."""
        return self.read >= self.most_runs or self.size >= BATCH_BYTES

    @property
    def repeats(self) -> bool:
        """Whether a run came twice."""
        return len(self.runs) < self.read


def parts_of(traces: Iterable[Trace]) -> Iterator[RawRun | RawFeedback]:
    """All feedback and runs of `traces`, trace by trace."""
    for trace in traces:
        yield from trace.feedback
        yield from trace.runs


def key_of(run: RawRun) -> Key:
    """What `run` is known by."""
    return run.trace_id.bytes + run.id.bytes
