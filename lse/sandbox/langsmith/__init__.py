"""A local LangSmith that the real SDK writes to and reads from, with both read APIs."""

from lse.sandbox.langsmith.server import LangSmithServer
from lse.sandbox.langsmith.state import LoadCounts

__all__ = ["LangSmithServer", "LoadCounts"]
