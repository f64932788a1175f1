"""Prefect around the steps: retries, names, artifacts and schedules. The work itself is in `lse.pipeline`."""

import logging
import os

from lse.pipeline.tracing import start

# Prefect's level would hide what the steps say; PREFECT_LOGGING_EXTRA_LOGGERS=lse shows it on the run's page.
logging.getLogger("lse").setLevel(logging.INFO)
# As on the command line: what is archived is for its owner alone, and never traced into the same account.
os.umask(0o077)
os.environ |= {"LANGSMITH_TRACING": "false", "LANGCHAIN_TRACING_V2": "false"}
# Before the first flow run begins, or Prefect's own spans would go nowhere.
start()
