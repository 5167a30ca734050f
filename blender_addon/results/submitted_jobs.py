"""Which jobs this file has asked for, and where their results belong: in the file, and in memory against undo.

Rules of this file: the file's own record (`scene.limbeck.jobs`) is what counts; it is saved, and it is undone with the
rest of the scene. A job is not undone by that, so memory keeps a copy of each record while Blender runs, and `mend`
puts back what an undo took away. Scenes are known by Blender's `session_uid`, which undo keeps and no other file has.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import bpy

from ..rig.placement import Placement

REMEMBERED_JOBS = 100


@dataclass(frozen=True)
class _Copy:
    scene_uid: int
    prompt: str
    placement: Placement
    is_wanted: bool


_copies: dict[str, _Copy] = {}


def remember(
    scene: bpy.types.Scene, job_id: str, prompt: str, placement: Placement, *, is_wanted: bool = False
) -> None:
    """Write into the file that this scene asked for a job, and where its result belongs.

    Args:
        scene: the scene that will receive the result.
        job_id: the job.
        prompt: for lists that people read.
        placement: where the result belongs.
        is_wanted: import it when it is done, though it is not the job that the session follows.
    """
    _copies[job_id] = _Copy(scene.session_uid, prompt, placement, is_wanted)
    while len(_copies) > REMEMBERED_JOBS:
        del _copies[next(iter(_copies))]
    _write(scene, job_id, _copies[job_id])


def entries() -> Iterator[bpy.types.PropertyGroup]:
    """Yield the records of all scenes of this file."""
    for scene in bpy.data.scenes:
        if scene.library is None:
            yield from scene.limbeck.jobs


def destination(job_id: str) -> tuple[bpy.types.Scene, Placement] | None:
    """Return which scene asked for a job and where the result belongs; None when no scene of this file did."""
    mend()
    for scene in bpy.data.scenes:
        entry = scene.limbeck.jobs.get(job_id) if scene.library is None else None
        if entry is not None:
            return scene, Placement(tuple(entry.location), tuple(entry.rotation), entry.size)
    return None


def mend() -> None:
    """Put back the records that an undo has taken away."""
    for scene in bpy.data.scenes if _copies else ():
        if scene.library is None:
            known = {entry.job_id for entry in scene.limbeck.jobs}
            for job_id, copy in _copies.items():
                if copy.scene_uid == scene.session_uid and job_id not in known:
                    _write(scene, job_id, copy)


def forget_copies() -> None:
    """Forget what is in memory; the file's records stay."""
    _copies.clear()


def _write(scene: bpy.types.Scene, job_id: str, copy: _Copy) -> None:
    jobs, placement = scene.limbeck.jobs, copy.placement
    entry = jobs.add()
    entry.name = entry.job_id = job_id
    entry.prompt, entry.is_wanted = copy.prompt, copy.is_wanted
    entry.location, entry.rotation, entry.size = placement.location, placement.rotation, placement.size
    while len(jobs) > REMEMBERED_JOBS:
        jobs.remove(0)
