"""LangSmith over HTTP: the one owner of retries and request rates, for whoever reads or writes there."""
