"""When to try again: the one owner of retries against a target."""

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_before_delay

from lse.errors import TemporaryError

log = logging.getLogger(__name__)
Result = TypeVar("Result")

CHECK_SECONDS = 15.0
"""How long a check tries: somebody waits for its answer, and what it precedes has patience of its own."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long to wait between attempts at one step, in seconds.

    Waits are random up to `base` doubled per attempt, at most `cap` ("full jitter"); a `Retry-After` wins, up
    to `retry_after_cap`. No attempt begins later than `total` after the first. A transfer counts anew
    after each part that arrived.
    """

    base: float = 0.5
    cap: float = 30.0
    retry_after_cap: float = 120.0
    total: float = 600.0

    def within(self, seconds: float) -> "RetryPolicy":
        """This policy with no more than `seconds` in total."""
        return replace(self, total=min(self.total, seconds))

    def run(self, step: Callable[[], Result]) -> Result:
        """What `step` returns, tried again while it raises `TemporaryError`; the last one rises."""
        retrying = Retrying(
            retry=retry_if_exception_type(TemporaryError),
            wait=self._wait,
            stop=stop_before_delay(self.total),
            before_sleep=_tell,
            reraise=True,
        )
        return retrying(step)

    def _wait(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, TemporaryError) and error.retry_after is not None:
            return min(error.retry_after, self.retry_after_cap)
        doubled = self.base * 2.0 ** min(state.attempt_number - 1, 30)
        return random.uniform(0, min(self.cap, doubled))  # noqa: S311 - spreads load, guards nothing


def _tell(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    log.info("%s Trying again in %.1f s.", error, state.upcoming_sleep)
