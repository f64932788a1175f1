"""A local LangSmith and a local Google Drive, for the demo, tests and benchmarks."""
