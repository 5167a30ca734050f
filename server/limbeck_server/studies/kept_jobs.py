"""Finished jobs of a study, kept in its folder, so that an interrupted study goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from limbeck_server.scene.field_file import FieldFileError, load_field, save_field
from limbeck_server.studies.losses import JobResult

RECORD, FIELD = "job.json", "field.safetensors"


def kept(place: Path, key: Mapping[str, Any]) -> JobResult | None:
    """Return a job that an earlier run finished; None if there is none, it was another job, or it is damaged.

    Args:
        place: the job's folder.
        key: what makes it this job; anything that JSON can say.
    """
    try:
        found = json.loads((place / RECORD).read_text(encoding="utf-8"))
        if found["key"] != json.loads(json.dumps(key)):
            return None
        seen = load_field(place / FIELD) if found["field"] else None
        return JobResult(found["metrics"], seen, found["error"], found["settings"])
    except (FileNotFoundError, FieldFileError, ValueError, KeyError, TypeError):
        # Of a damaged one the time is lost, and nothing else: it is run anew.
        return None


def keep(place: Path, key: Mapping[str, Any], result: JobResult) -> None:
    """Write a finished job; its record last, and whole or not at all, so that what has one is complete."""
    place.mkdir(parents=True, exist_ok=True)
    (place / RECORD).unlink(missing_ok=True)
    if result.field is not None:
        save_field(result.field, place / FIELD)
    found = {
        "key": dict(key),
        "field": result.field is not None,
        "metrics": dict(result.metrics),
        "error": result.error,
        "settings": dict(result.settings),
    }
    part = place / f"{RECORD}.part"
    part.write_text(json.dumps(found, indent=2), encoding="utf-8")
    part.replace(place / RECORD)
