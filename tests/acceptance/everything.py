"""All that a command may import, for the process that commands are forked from."""

import importlib
import pkgutil

from measured import measured, measured_imports

_IMPORTED_WHEN_USED = (
    "googleapiclient.discovery",
    "oauth2client.service_account",
    "pydrive2.drive",
    "rich.progress",
)

with measured_imports(), measured():
    import lse

    for module in pkgutil.walk_packages(lse.__path__, "lse."):
        importlib.import_module(module.name)

for name in _IMPORTED_WHEN_USED:
    importlib.import_module(name)
