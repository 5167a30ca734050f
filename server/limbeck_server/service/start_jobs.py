"""Recipes that begin with another job's field: whether that can be, said at once and before anything is stored."""

from __future__ import annotations

from pathlib import Path

import msgspec
from limbeck_protocol.editing import check_start
from limbeck_protocol.errors import ErrorCode, LimbeckError, remedy_for
from limbeck_protocol.recipe import FIELD_FILE, Recipe

from limbeck_server.service.artifacts import job_folder, read_chunk
from limbeck_server.service.job_store import JobStore

_TAKEN_OVER = ("field", "field_resolution")


def with_start_field(recipe: Recipe, store: JobStore, jobs_folder: Path) -> Recipe:
    """Return the recipe with the kind and the resolution of the field that it starts from; without a start, as it is.

    Raises:
        LimbeckError: the job is unknown, has not succeeded or has no field any more; or the recipe asks for another
            kind or resolution than it has.
    """
    if not recipe.start:
        return recipe
    job_id = recipe.start.job_id
    try:
        job = store.job(job_id)
        check_start(job)
        # What is on record may have been deleted behind our back.
        read_chunk(job_folder(jobs_folder, job_id), FIELD_FILE, 0, 1)
    except LimbeckError as error:
        if error.remedy.field is not None:
            raise
        label = "Start from another job; `limbeck jobs list` shows them."
        remedy = remedy_for(error.code, label=label, field="recipe.start.job_id")
        raise LimbeckError(error.code, error.message, remedy) from error
    for name in _TAKEN_OVER:
        has, wanted = getattr(job.recipe.settings, name), getattr(recipe.settings, name)
        if wanted is not msgspec.UNSET and wanted != has:
            raise LimbeckError(
                ErrorCode.INVALID_FIELD,
                f"The recipe asks for {name} {wanted}, but job {job_id}, which it starts from, has {has}.",
                remedy_for(
                    ErrorCode.INVALID_FIELD,
                    label=f"Leave {name} out: it is taken from that job.",
                    field=f"recipe.settings.{name}",
                ),
            )
    taken = {name: getattr(job.recipe.settings, name) for name in _TAKEN_OVER}
    return msgspec.structs.replace(recipe, settings=msgspec.structs.replace(recipe.settings, **taken))
