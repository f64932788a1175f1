"""A local LangSmith and a local Google Drive, for the demo, tests and benchmarks."""

from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from lse.sandbox.drive import DriveServer
    from lse.sandbox.langsmith import LangSmithServer


class Sandbox:
    """Both servers on free ports of this machine, started together and stopped together.

    with Sandbox() as sandbox:
        print(sandbox.langsmith.url, sandbox.drive.url)
    """

    langsmith: "LangSmithServer"
    drive: "DriveServer"

    def __init__(
        self,
        *,
        rate_limits: bool = False,
        api_key: str | None = "sandbox-key",
        seed: int = 0,
        langsmith_port: int = 0,
        drive_port: int = 0,
    ) -> None:
        """Nothing runs yet. `rate_limits` lets the local LangSmith answer 429 as the real one does;
        `api_key` is the key that it asks for; `seed` decides the chances of faults."""
        # Imported here: whoever imports one module of the sandbox should not pay for both servers.
        from lse.sandbox.drive import DriveServer
        from lse.sandbox.langsmith import LangSmithServer

        self.langsmith = LangSmithServer(langsmith_port, api_key=api_key, rate_limits=rate_limits, seed=seed)
        self.drive = DriveServer(drive_port, seed=seed)
        self._running = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.langsmith)
            stack.enter_context(self.drive)
            self._running = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()
