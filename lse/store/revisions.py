"""Where the migrations are and which is the last; cheap enough to ask before every command."""

from pathlib import Path

import lse

_PACKAGE = Path(lse.__file__).parent


def migrations_folder() -> Path:
    """The folder of the migrations: inside an installed wheel, or at the top of a checkout."""
    installed = _PACKAGE / "_migrations"
    return installed if installed.is_dir() else _PACKAGE.parent / "migrations"


def head() -> str:
    """The last revision of the schema. Migrations are linear and their file names begin with a number."""
    return max(path.name for path in (migrations_folder() / "versions").glob("[0-9]*.py")).split("_")[0]
