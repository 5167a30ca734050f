"""The session inside Blender: one timer that drains it, redraws, and puts finished meshes where they belong.

Rules of this file: what it keeps between calls refers to nothing of Blender's that undo or opening a file could take
away: scenes are looked up by the job that they asked for, each time.
"""

from __future__ import annotations

import shlex
import time
import traceback

import bpy
from limbeck_protocol import messages
from limbeck_protocol.errors import ErrorCode, LimbeckError, remedy_for

from . import job_list
from .connection.server_tools import ServerTools
from .connection.session import Session
from .preferences import change, check_network_allowed, network_allowed, server_choice, when_server_changes
from .previews.live_preview import LivePreview
from .previews.preview_image import PreviewImage
from .recipe.panel_form import placement_from
from .results.image_import import import_image
from .results.picture import Picture, Result, result_word
from .results.recipe_on_object import Origin
from .results.scene_import import import_mesh
from .results.submitted_jobs import destination, forget_copies
from .results.submitted_jobs import remember as remember
from .results.wanted_results import WantedResults
from .rig import frusta_overlay
from .rig.placement import Placement

_drawn_changes = (0, 0)
_session: Session | None = None
_tools: ServerTools | None = None
preview = PreviewImage()
live = LivePreview(preview)
wanted = WantedResults()


def session() -> Session:
    """Return the session; made at first use, closed by `unregister`."""
    global _session
    if _session is None:
        _session = Session(server_choice, check_network_allowed, live.take, deliver)
        _session.viewer = live.viewer
    return _session


def tools() -> ServerTools:
    """Return what searches and examines the server's program; made at first use, ended by `unregister`."""
    global _tools
    if _tools is None:
        _tools = ServerTools(_keep_found_program)
    return _tools


def leave_server() -> None:
    """Forget the server that was talked to; its jobs go on."""
    if _session is not None:
        _session.leave()
        _redraw_panels()


when_server_changes[:] = [leave_server]


def pump() -> float | None:
    """Drain the session once and redraw what has changed; return when to call again, None for not at all.

    A timer calls it where there is a window. Without one, timers never fire: call it in a loop, or use `wait`.
    """
    global _drawn_changes
    if session().has_client and not network_allowed():
        session().close()  # online access was switched off: not one byte more, and the job is taken up again later
    intervals = [session().pump(), tools().step(), job_list.after_pump(session()), wanted.step(session())]
    live.step(session())
    frusta_overlay.follow(session().followed)
    changes = (session().changes, tools().changes)
    if changes != _drawn_changes:
        _drawn_changes = changes
        _redraw_panels()
    return min((interval for interval in intervals if interval is not None), default=None)


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


def deliver(info: messages.JobInfo, result: Result) -> None:
    """Import a finished mesh or picture; a mesh where the scene that asked for it wanted it, else as the panel says.

    Raises:
        LimbeckError: the placement or the result cannot be used; the file is as it was before.
    """
    found = destination(info.job_id)
    if found is None:
        here = bpy.context.scene
        found = here, Placement() if info.recipe.image else placement_from(here)
    wanted.settle(info.job_id)  # before the undo step, which would bring the wish back
    followed, origin = session().followed, Origin(info.job_id, info.recipe, info.metrics)
    preview_picture = followed.picture if followed is not None and followed.job_id == info.job_id else None
    try:
        if isinstance(result, Picture):
            import_image(result, origin, preview=preview_picture, push_undo=True)
            return
        scene, placement = found
        as_asset = scene.limbeck.mark_as_asset
        import_mesh(scene, result, origin, placement, picture=preview_picture, as_asset=as_asset, push_undo=True)
    except (RuntimeError, TypeError, ValueError, AttributeError) as error:
        # Blender refused something: an exception here would end the timer, and with it the panel.
        traceback.print_exc()
        label = "Import it again from the list of jobs; the console says more."
        sentence = f"Blender could not take the {result_word(info.recipe)} in: {error}"
        raise LimbeckError(ErrorCode.INTERNAL, sentence, remedy_for(ErrorCode.INTERNAL, label=label)) from error


def _keep_found_program(command: tuple[str, ...]) -> None:
    change(python_command=shlex.join(command), server_mode="LOCAL")


def _redraw_panels() -> None:
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                for region in area.regions:
                    if region.type == "UI":
                        region.tag_redraw()


def unregister() -> None:
    """Stop the timer, close the connection, remove the icon. The server and its jobs go on."""
    global _session, _tools, wanted
    if bpy.app.timers.is_registered(pump):
        bpy.app.timers.unregister(pump)
    if _tools is not None:
        _tools.stop()
        _tools = None
    if _session is not None:
        _session.close()
        _session = None
    live.clear()
    wanted = WantedResults()
    forget_copies()
