"""What one copy of a project day holds, by id and content hash."""

from dataclasses import dataclass, field
from uuid import UUID


@dataclass(slots=True)
class Inventory:
    """One copy: trace files, zip, target or store."""

    copy: str
    """The copy's name in messages: `files`, `zip`, `target`, `store`."""
    runs: dict[UUID, tuple[UUID, UUID]] = field(default_factory=dict)
    """run id → (trace id, content hash)"""
    feedback: dict[UUID, UUID] = field(default_factory=dict)
    """feedback id → content hash"""
    unplaced: set[UUID] = field(default_factory=set)
    """content hashes of runs that name no trace"""
    superseded: set[UUID] = field(default_factory=set)
    """content hashes of earlier texts of runs and feedback; the store keeps none"""
    quarantined: set[UUID] = field(default_factory=set)
    """content hashes of runs kept raw because they could not be loaded"""
    files: set[str] = field(default_factory=set)
    """SHA-256 of the stored files that are there and whole"""
    files_named: dict[str, UUID] = field(default_factory=dict)
    """SHA-256 of each stored file that a trace names → one of its runs"""
    damage: list[str] = field(default_factory=list)
    """What could not be read, a sentence each"""
