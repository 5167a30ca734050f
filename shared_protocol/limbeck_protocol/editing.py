"""Beginning with what a finished job has made: which jobs can be started from, and the recipe of an edit.

Both ends use this: a client asks before it submits, a server before it takes the job.
"""

from __future__ import annotations

from typing import Any

import msgspec

from limbeck_protocol.errors import ErrorCode, LimbeckError, remedy_for
from limbeck_protocol.job_states import FINAL_STATES, JobState
from limbeck_protocol.messages import JobInfo, Welcome
from limbeck_protocol.minor_versions import check_server_knows_starts
from limbeck_protocol.recipe import FIELD_FILE, Recipe, Settings, Start, check_recipe

EDIT_LOSS = "dds"
"""It turns one thing into another; a recipe with it needs a `start`."""
_FIELD = "recipe.start.job_id"
KEPT_SETTINGS = (
    "preview_every",
    "mesh_resolution",
    "density_level",
    "face_budget",
    "texture_size",
    "threads",
    "device",
)
"""They say where a job runs and what its mesh is like; all others are what the edit's own preset says."""
_COMMON_PRESETS = ("quick", "standard")
"""Every loss and every prior has them; others are made for one loss."""


def check_start(job: JobInfo) -> None:
    """See that another job can begin with what this one has made.

    Raises:
        LimbeckError: BAD_STATE: it makes a picture, or has not succeeded (yet); ARTIFACT_NOT_FOUND: it left no field
            behind.
    """
    code = ErrorCode.BAD_STATE
    if job.recipe.image:
        message = f"Job {job.job_id} makes a picture, which has no field to start from."
        raise LimbeckError(code, message, remedy_for(code, label="Start from a job that made an object.", field=_FIELD))
    if job.state not in FINAL_STATES:
        message = f"Job {job.job_id} is still {job.state}; there is nothing to start from before it has succeeded."
        raise LimbeckError(code, message, remedy_for(code, label="Wait until it has succeeded.", field=_FIELD))
    if job.state != JobState.SUCCEEDED:
        message = f"Job {job.job_id} {'was ' if job.state == JobState.CANCELLED else ''}{job.state} and left no result."
        raise LimbeckError(code, message, remedy_for(code, label="Start from a job that succeeded.", field=_FIELD))
    if all(artifact.name != FIELD_FILE for artifact in job.artifacts):
        code = ErrorCode.ARTIFACT_NOT_FOUND
        message = f"Job {job.job_id} has no {FIELD_FILE}: an older release made it."
        label = "Run its recipe again, and start from that job."
        raise LimbeckError(code, message, remedy_for(code, label=label, field=_FIELD))


def common_preset(preset: str) -> str:
    """Return a preset that another loss has too: this one if it is for every loss, else `standard`."""
    return preset if preset in _COMMON_PRESETS else "standard"


def edit_recipe(job: JobInfo, prompt: str, *, welcome: Welcome | None = None, **changes: Any) -> Recipe:
    """Return the recipe that turns what a finished job has made into something else, by the loss `dds`.

    Rig, prior, negative prompt and seed are the job's, and so are the settings of its mesh; all other settings are left
    to the preset. That is the job's if it is for every loss, else `standard`: a preset such as `nfsd` says how another
    loss works. The server takes the kind and the resolution of the field from the job.

    Args:
        job: the job to start from.
        prompt: what to make of it.
        welcome: what the server has said of itself, where it is known: one that is too old is named as the reason then.
        changes: fields of the recipe that shall be otherwise; those set in `settings` come on top.

    Raises:
        LimbeckError: the server or the job is too old, the job cannot be started from, or a change makes no sense.
        TypeError: a change is no field of a recipe.
    """
    if welcome is not None:
        check_server_knows_starts(welcome)
    check_start(job)
    kept = {name: getattr(job.recipe.settings, name) for name in KEPT_SETTINGS}
    wanted: Settings = changes.pop("settings", Settings())
    kept |= {name: value for name in wanted.__struct_fields__ if (value := getattr(wanted, name)) is not msgspec.UNSET}
    recipe = msgspec.structs.replace(
        job.recipe,
        **{
            "prompt": prompt,
            "loss": EDIT_LOSS,
            "preset": common_preset(job.recipe.preset),
            "settings": Settings(**kept),
            "start": Start(job_id=job.job_id, prompt=job.recipe.prompt),
            "versions": {},
            **changes,
        },
    )
    check_recipe(recipe)
    return recipe
