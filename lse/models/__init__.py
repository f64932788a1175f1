"""The values that travel between the parts of `lse`: frozen, without I/O."""

from lse.models.day import ProjectDay, parse_day
from lse.models.inventory import Inventory
from lse.models.trace import RawFeedback, RawRun, Trace, content_hash

__all__ = ["Inventory", "ProjectDay", "RawFeedback", "RawRun", "Trace", "content_hash", "parse_day"]
