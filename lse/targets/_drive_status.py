"""What Drive says of the account and the folder, and what of it stands against an upload."""

from dataclasses import dataclass

from lse.errors import AccessError, ConfigurationError, LseError
from lse.targets._drive_client import Client, Resource


@dataclass(frozen=True, slots=True)
class DriveStatus:
    """The account, the folder and the storage behind the target `drive`."""

    account: str
    """The address of the person or service account whose storage is used."""
    scope: str
    """The permission that is asked for."""
    folder: str
    """As LSE_DRIVE_FOLDER has it."""
    folder_id: str | None
    """None when it is yet to be made or cannot be used."""
    link: str | None
    writable: bool
    shared_drive: bool
    used_bytes: int
    total_bytes: int | None
    """None for storage without a limit."""
    problem: LseError | None
    """Why an upload would fail, when that is known beforehand."""


def describe(
    client: Client, about: Resource, folder: str, scope: str, root: Resource | None, problem: LseError | None
) -> DriveStatus:
    """The status from what Drive answered; `problem` is what was wrong with finding the folder."""
    account = about.get("user", {}).get("emailAddress", client.account)
    limited = about.get("quotaType", "LIMITED") == "LIMITED" and "quotaBytesTotal" in about
    used, total = int(about.get("quotaBytesUsed", 0)), int(about["quotaBytesTotal"]) if limited else None
    writable = bool(root is None or root.get("capabilities", {}).get("canAddChildren", True))
    shared = bool(root and root.get("driveId"))
    return DriveStatus(
        account=account,
        scope=scope,
        folder=folder,
        folder_id=str(root["id"]) if root else None,
        link=root.get("alternateLink") if root else None,
        writable=writable and problem is None,
        shared_drive=shared,
        used_bytes=used,
        total_bytes=total,
        problem=problem
        or _folder_problem(account, folder, writable)
        or (None if shared else _storage_problem(client, account, used, total)),
    )


def _folder_problem(account: str, folder: str, writable: bool) -> LseError | None:
    if writable:
        return None
    return AccessError(
        f"{account} may not write to the Drive folder {folder}.",
        hint="Share the folder with it as editor, on a shared drive as content manager.",
    )


def _storage_problem(client: Client, account: str, used: int, total: int | None) -> LseError | None:
    """Google counts what a service account uploads to its own storage, whoever shared the folder."""
    if total is None or used < total:
        return None
    if client.without_storage:
        return ConfigurationError(
            f"The service account {account} has no storage, and the folder is on no shared drive.",
            hint="Make the folder on a shared drive: `lse drive init --shared-drive ID`; or let the account "
            "act for a person: LSE_DRIVE_USER.",
        )
    return ConfigurationError(
        f"The Drive storage of {account} is full.", hint="Make room, or use a folder of a shared drive."
    )
