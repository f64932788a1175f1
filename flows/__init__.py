"""Prefect around the steps: retries, names, artifacts and schedules. The work itself is in `lse.pipeline`."""

import logging

# Prefect's level would hide what the steps say; PREFECT_LOGGING_EXTRA_LOGGERS=lse shows it on the run's page.
logging.getLogger("lse").setLevel(logging.INFO)
