"""Keep a team's LangSmith traces: fetch, archive, load, prove, report."""

__version__ = "0.1.0"
