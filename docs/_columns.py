"""What the columns of the store mean, for those whose model carries no docstring of its own."""

MEANINGS: dict[str, dict[str, str]] = {
    "runs": {
        "run_date": "The UTC day on which the trace's root run started; the same for all runs of the trace.",
        "trace_id": "The trace, which is the id of its root run.",
        "run_id": "The run.",
        "parent_run_id": "The run that called this one; null for a root run.",
        "session_id": "LangSmith's id of the project.",
        "start_time": "When the run started.",
        "end_time": "When it ended; null while it has not.",
        "loaded_at": "When this row was last written.",
        "prompt_tokens": "Tokens sent to the model, as LangSmith counted them.",
        "completion_tokens": "Tokens the model wrote.",
        "total_tokens": "Both together, as LangSmith gives it.",
        "project": "The project's name.",
        "name": "The run's name.",
        "run_type": "`chain`, `llm`, `tool`, `retriever`, ..., lower case.",
        "status": "`success`, `error`, `pending` or what else the server says, lower case; null when it says "
        "nothing.",
        "symbol": "The run's own crypto symbol, upper case, where its inputs or metadata name one.",
        "thread_id": "The conversation that the trace belongs to.",
        "prompt_cost": "Cost of the prompt, in US dollars as LangSmith gives it, exact.",
        "completion_cost": "Cost of the completion, likewise.",
        "total_cost": "Both together, likewise.",
        "tags": "The run's tags; empty when it has none.",
        "data": "The whole run as a JSON value. A report that needs a field without a column reads it here.",
        "model": "The language model that was asked, where the metadata names one (`ls_model_name`).",
    },
    "run_versions": {
        "run_date": "The UTC day under which this version stood.",
        "trace_id": "The trace.",
        "run_id": "The run.",
        "project": "The project under which this version stood.",
        "status": "The status it had.",
        "loaded_at": "When this version was loaded.",
        "superseded_at": "When a load last put another in its place.",
        "sanitized": "Whether NUL characters of the text stand as U+FFFD in `data`.",
        "data": "The whole version as a JSON value.",
    },
    "daily_rollups": {
        "project": "The project's name.",
        "run_date": "The UTC day of the traces.",
        "name": "The runs' name.",
        "run_type": "Their type.",
        "status": "Their status.",
        "model": "The language model that was asked.",
        "runs": "How many runs.",
        "prompt_tokens": "Sum of the tokens sent to the model.",
        "completion_tokens": "Sum of the tokens the model wrote.",
        "total_tokens": "Sum of both as LangSmith gives them.",
        "prompt_cost": "Sum of the costs of prompts, in US dollars, exact.",
        "completion_cost": "Sum of the costs of completions, likewise.",
        "total_cost": "Sum of both as LangSmith gives them.",
    },
    "daily_traces": {
        "project": "The project's name.",
        "run_date": "The UTC day of the traces.",
    },
    "daily_feedback": {
        "project": "The project's name.",
        "run_date": "The UTC day of the traces that it is about.",
    },
    "project_days": {
        "project": "The project's name.",
        "run_date": "The UTC day.",
        "fetched_at": "Begin of the last fetch.",
        "complete": "Whether that fetch proved that no run is missing; null before the first one.",
        "server_runs": "The server's own count of runs in the window; null when it cannot count.",
        "server_traces": "The server's own count of traces, likewise.",
        "runs": "Runs that the last fetch brought.",
        "traces": "Traces that the last fetch brought.",
        "feedback": "Feedback records that the last fetch brought.",
        "api": "What was walked, such as `langsmith v1`.",
        "walks": "How many times the window was walked before the figures agreed, or were given up.",
        "packed_at": "When the zip was last written or found unchanged.",
        "content_sha256": "The hash over the content of the zip; see the archive format.",
        "zip_sha256": "SHA-256 of the zip file.",
        "zip_md5": "MD5 of the zip file, which is what Drive computes.",
        "zip_size": "Its size in bytes.",
        "uploaded_at": "When the zip was last proved to be in the target.",
        "target": "The kind of target: `drive` or `directory`.",
        "target_id": "The target's own id of the object.",
        "target_link": "An address for people, where there is one.",
        "loaded_at": "When the day was last loaded.",
        "loaded_runs": "Runs of the archive that the store holds since then.",
        "loaded_content": "`content_sha256` of the archive that was loaded then.",
        "loaded_digest": "Of the ids and hashes of the rows that the load left: with the same content and the"
        " same digest, a load has nothing to do.",
        "quarantined": "Runs and feedback records that the last load set aside.",
        "verified_at": "When the copies were last compared.",
        "differences": "How many differences that comparison found.",
        "failed_step": "The step that failed last: `fetch`, `pack`, `upload`, `load` or `verify`; null when "
        "the last fetch succeeded and nothing failed since.",
    },
    "quarantine": {
        "id": "A random id.",
        "project": "The project's name.",
        "run_date": "The UTC day of the trace.",
        "run_id": "The run, where the text names one.",
        "trace_id": "The trace, where the text names one.",
        "content_hash": "128 bits of the SHA-256 of `raw`.",
        "raw": "The exact bytes that were served.",
        "reason": "Why they are no row, in words that quote nothing of them.",
        "quarantined_at": "When they were set aside.",
    },
    "feedback": {
        "run_date": "The UTC day of the run's trace.",
        "run_id": "The run that the feedback is about.",
        "feedback_id": "The feedback record.",
        "project": "The project's name.",
        "key": "What was judged, such as `user_score`.",
        "score": "The score as a number; `true` is 1.",
        "value": "The value as JSON, for feedback that is no number.",
        "comment": "The comment.",
        "created_at": "When the feedback was given.",
        "modified_at": "When it was last changed.",
        "content_hash": "128 bits of the SHA-256 of the record's exact text.",
        "sanitized": "Whether NUL characters of the text stand as U+FFFD in `data`.",
        "data": "The whole record as a JSON value.",
    },
}
"""table → column → one sentence"""

_RUN_COLUMNS = (
    "project run_date trace_id run_id parent_run_id name run_type status model start_time end_time latency "
    "prompt_tokens completion_tokens total_tokens prompt_cost completion_cost total_cost symbol thread_id "
    "tags error loaded_at data"
).split()
_FEEDBACK_COLUMNS = (
    "project run_date run_id feedback_id key score value comment created_at modified_at data"
).split()
_DAY_COLUMNS = (
    "project run_date complete runs traces feedback loaded_runs quarantined differences "
    "fetched_at packed_at uploaded_at loaded_at verified_at failed_step failure"
).split()
_ROLLUP_COLUMNS = (
    "project run_date name run_type status model runs roots traces prompt_tokens completion_tokens "
    "total_tokens prompt_cost completion_cost total_cost ended latency"
).split()

VIEWS: dict[str, tuple[str, dict[str, str]]] = {
    "lse_runs": ("The runs, without what only `lse` needs.", dict.fromkeys(_RUN_COLUMNS, "as in `runs`")),
    "lse_traces": (
        "One row per trace.",
        {
            "project": "The project's name.",
            "run_date": "The trace's UTC day.",
            "trace_id": "The trace.",
            "name": "The root run's name; null while the root is not loaded.",
            "status": "The root run's status.",
            "start_time": "When the root run started; without a root, when the first run did.",
            "end_time": "When the root run ended.",
            "latency": "Seconds from the root's start to its end.",
            "runs": "How many runs the trace has.",
            "failed_runs": "How many of them did not succeed: missing and pending count as failed.",
            "total_tokens": "The root run's tokens, in which LangSmith counts those of all its runs.",
            "total_cost": "The root run's cost, likewise.",
        },
    ),
    "lse_feedback": ("The feedback.", dict.fromkeys(_FEEDBACK_COLUMNS, "as in `feedback`")),
    "lse_days": (
        "What is proved done for each project day.",
        dict.fromkeys(_DAY_COLUMNS, "as in `project_days`"),
    ),
    "lse_rollups": ("Counts and sums by day.", dict.fromkeys(_ROLLUP_COLUMNS, "as in `daily_rollups`")),
}
"""view → what its rows are, and column → one sentence"""
