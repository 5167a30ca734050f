"""The session inside Blender: one timer that drains it, redraws, and puts finished meshes where they belong.

Rules of this file: it is the only place that holds state between calls, and it holds no reference to anything of
Blender's that undo or opening a file could take away: scenes are looked up by the job that they asked for, each time.
"""

from __future__ import annotations

import time

import bpy
from limbeck_protocol import messages
from limbeck_protocol.errors import ErrorCode, LimbeckError

from .mesh_arrays import MeshArrays
from .panel_form import placement_from
from .placement import Placement
from .preferences import server_choice
from .preview_image import PreviewImage
from .scene_import import Origin, import_mesh
from .session import Session

REMEMBERED_JOBS = 100
_drawn_changes = 0
_session: Session | None = None
preview = PreviewImage()


def session() -> Session:
    """Return the session; made at first use, closed by `unregister`."""
    global _session
    if _session is None:
        _session = Session(lambda: server_choice().command, _show_preview, deliver)
    return _session


def pump() -> float | None:
    """Drain the session once and redraw what has changed; return when to call again, None for not at all.

    A timer calls it where there is a window. Without one, timers never fire: call it in a loop, or use `wait`.
    """
    global _drawn_changes
    interval = session().pump()
    if session().changes != _drawn_changes:
        _drawn_changes = session().changes
        _redraw_panels()
    return interval


def wake() -> None:
    """See that `pump` is called as long as it wants to be; also after another file was opened."""
    if not bpy.app.background and not bpy.app.timers.is_registered(pump):
        bpy.app.timers.register(pump, persistent=True)


def wait(timeout_s: float) -> None:
    """Pump until nothing is awaited any more.

    Raises:
        LimbeckError: what went wrong, or TIMEOUT; the job goes on.
    """
    deadline = time.monotonic() + timeout_s
    while (interval := pump()) is not None:
        if time.monotonic() > deadline:
            raise LimbeckError(ErrorCode.TIMEOUT, f"The job has not ended within {timeout_s:g} s; it goes on.")
        time.sleep(interval)
    if session().error is not None:
        raise session().error


def remember(scene: bpy.types.Scene, job_id: str, prompt: str, placement: Placement) -> None:
    """Write into the file that this scene asked for a job, and where its result belongs."""
    jobs = scene.limbeck.jobs
    entry = jobs.add()
    entry.name = entry.job_id = job_id
    entry.prompt = prompt
    entry.location, entry.rotation, entry.size = placement.location, placement.rotation, placement.size
    while len(jobs) > REMEMBERED_JOBS:
        jobs.remove(0)


def deliver(info: messages.JobInfo, arrays: MeshArrays) -> None:
    """Import a finished mesh: where the scene that asked for it wanted it, else as the panel says now.

    Raises:
        LimbeckError: the placement or the mesh cannot be used; the file is as it was before.
    """
    scene, placement = _destination(info.job_id)
    origin = Origin(info.job_id, info.recipe, info.metrics)
    import_mesh(scene, arrays, origin, placement, push_undo=True)


def _destination(job_id: str) -> tuple[bpy.types.Scene, Placement]:
    for scene in bpy.data.scenes:
        entry = scene.limbeck.jobs.get(job_id)
        if entry is not None:
            return scene, Placement(tuple(entry.location), tuple(entry.rotation), entry.size)
    return bpy.context.scene, placement_from(bpy.context.scene)


def _show_preview(message: messages.Preview) -> None:
    if message.image is not None:
        preview.show(message.image)


def _redraw_panels() -> None:
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                for region in area.regions:
                    if region.type == "UI":
                        region.tag_redraw()


def unregister() -> None:
    """Stop the timer, close the connection, remove the icon. The server and its jobs go on."""
    global _session
    if bpy.app.timers.is_registered(pump):
        bpy.app.timers.unregister(pump)
    if _session is not None:
        _session.close()
        _session = None
    preview.clear()
