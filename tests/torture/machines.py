"""Machines in a prepared state, each with folders, a database and a place in the target of its own."""

import hashlib
import json
import os
import re
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import psycopg
from day_of_copies import TABLES
from psycopg import sql

from lse.langsmith.http import Patience
from lse.models import ProjectDay
from lse.resources import Resources
from lse.sandbox.drive import DriveServer
from lse.sandbox.langsmith import LangSmithServer
from lse.settings import load_settings, variable_name
from lse.sources.langsmith import LangSmithSource

KEY = "sandbox-key"
DAY = ProjectDay("chat", date(2025, 9, 13))
GROWING = ProjectDay("growing", date(2025, 9, 13))
NOW = datetime(2025, 10, 1, tzinfo=UTC)
PATIENT = Patience(
    connect=10, read=20, body=20, total=20, unreachable=10, longest_wait=0.02, first_wait=0.002
)

_BY_CHANCE = ("changed_xid", "fetch_record", "id", "target_id", "target_link", "walks")
_UNTIMELY = re.compile(r"\d{8}T\d{6}Z|(?<=uploads/)[0-9a-f]{32}")
_PARTS = ("data", "archives", "state", "target", "tmp", "earlier")


@dataclass
class Machine:
    """One machine: where it keeps things, and what it is set to."""

    langsmith: LangSmithServer
    drive: DriveServer
    folder: Path
    database_url: str
    target: str
    flags: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def resources(self, **flags: Any) -> Iterator[Resources]:
        """The outside world of one command, where it is always `NOW`."""
        settings = load_settings(**{**self.settings(), **self.flags, **flags})
        with Resources(settings) as opened:
            source = LangSmithSource(settings, PATIENT)
            vars(opened).update(source=source, now=lambda: NOW)
            try:
                yield opened
            finally:
                source.close()

    def settings(self) -> dict[str, Any]:
        """Where everything is."""
        drive = {
            "drive_api_root": self.drive.url,
            "drive_credentials": self.folder / "key.json",
            "drive_folder": self.folder.name,
        }
        return {
            "langsmith_endpoint": self.langsmith.url,
            "langsmith_api_key": KEY,
            "langsmith_rate_limit": False,
            "database_url": self.database_url,
            "data_dir": self.folder / "data",
            "archive_dir": self.folder / "archives",
            "state_dir": self.folder / "state",
            "target": self.target.format(folder=self.folder),
            **(drive if self.target == "drive" else {}),
        }

    def environment(self) -> dict[str, str]:
        """The same settings for a process of its own."""
        settings = {variable_name(name): str(value) for name, value in self.settings().items()}
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "TMPDIR": str(self.folder / "tmp"),
            **settings,
        }

    def left(self) -> dict[str, Any]:
        """All that is there, as far as it must not depend on what happened on the way; read without `lse`."""
        return {
            "paths": [_UNTIMELY.sub("*", str(path)) for path in self._paths()],
            "files": {str(path): self._digest(path) for path in self._paths() if _is_content(path)},
            "zips": {str(path): self._members(path) for path in self._paths() if path.suffix == ".zip"},
            "drive": self._in_drive(),
            "rows": self._rows(),
        }

    def copy_to(self, folder: Path) -> None:
        """Copy all that this machine keeps into `folder`."""
        for name in _PARTS:
            if (self.folder / name).exists():
                shutil.copytree(self.folder / name, folder / name, symlinks=True)

    def _paths(self) -> list[Path]:
        tops = [self.folder / name for name in _PARTS]
        return [path.relative_to(self.folder) for top in tops for path in sorted(top.rglob("*"))]

    def _digest(self, path: Path) -> str:
        return hashlib.sha256((self.folder / path).read_bytes()).hexdigest()

    def _members(self, path: Path) -> dict[str, str]:
        with zipfile.ZipFile(self.folder / path) as archive:
            return {name: hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist()}

    def _in_drive(self) -> dict[str, list[str]]:
        found = self.drive.files() if self.target == "drive" else {}
        mine = {path: items for path, items in found.items() if path.startswith(f"{self.folder.name}/")}
        return {
            path.partition("/")[2]: [item.revisions[-1].md5 for item in items] for path, items in mine.items()
        }

    def _rows(self) -> dict[str, list[str]]:
        with psycopg.connect(self.database_url) as connection:
            return {table: _rows_of(table, connection) for table in TABLES}


def _rows_of(table: str, connection: psycopg.Connection) -> list[str]:
    query = sql.SQL("select to_jsonb(t) from {} t").format(sql.Identifier(table))
    rows = [row for (row,) in connection.execute(query)]
    return sorted(json.dumps(_timeless(row), sort_keys=True) for row in rows)


def _is_content(path: Path) -> bool:
    """Whether a file says what was archived; the records beside it also say when."""
    archived = path.parts[0] in ("data", "target") and path.suffix in (".json", ".jsonl", ".bin")
    return archived and path.name[0] not in "_." and not path.name.endswith(".pruned.json")


def _timeless(row: dict[str, Any]) -> dict[str, Any]:
    """A row without what depends on the moment or on chance; of a time only whether there is one."""
    kept = {name: value for name, value in row.items() if name not in _BY_CHANCE}
    return {name: value is not None if name.endswith("_at") else value for name, value in kept.items()}
