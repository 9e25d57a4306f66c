"""The journal of what was run: content-addressed results, resume, export, `results.json`."""

from demur.runs.codec import as_asked
from demur.runs.export import check_format, export_run, flat_rows
from demur.runs.journal import Journal, Row, Run
from demur.runs.keys import batch_salt, digest, generation_key, score_key, verdict_key
from demur.runs.results import Results, read_results, write_results
from demur.runs.sources import SOURCE_ROOMS, code_hash, source_hash
from demur.runs.writing import atomic, check_place, room, write_text

__all__ = [
    "SOURCE_ROOMS",
    "Journal",
    "Results",
    "Row",
    "Run",
    "as_asked",
    "atomic",
    "batch_salt",
    "check_format",
    "check_place",
    "code_hash",
    "digest",
    "export_run",
    "flat_rows",
    "generation_key",
    "read_results",
    "room",
    "score_key",
    "source_hash",
    "verdict_key",
    "write_results",
    "write_text",
]
