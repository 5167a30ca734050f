"""Pictures of the job that is followed, to the three places that show them: sidebar, Image Editor, 3-D view."""

from __future__ import annotations

import bpy
from limbeck_protocol.messages import Preview, ViewerCamera

from ..connection.session import Session
from ..rig.placement import Placement
from . import image_editor_preview
from .preview_image import PreviewImage
from .viewport_overlay import ViewportOverlay


class LivePreview:
    """Takes each picture where it belongs, and says from where the user looks.

    Args:
        sidebar: the icon that the panel draws.
    """

    def __init__(self, sidebar: PreviewImage) -> None:
        self.sidebar = sidebar
        self.viewport = ViewportOverlay()
        self._job_id = ""

    def viewer(self) -> ViewerCamera | None:
        """Return the camera that the server should render for; None if nobody looks."""
        return self.viewport.viewer() if self.viewport.is_on else None

    def take(self, picture: Preview) -> None:
        """Show a picture: the job's own in the panel and in an Image Editor, either kind in the 3-D view."""
        if picture.job_id != self._job_id:
            self._job_id = picture.job_id
            image_editor_preview.take_back()
        if picture.image is not None and not picture.from_viewer:
            self.sidebar.show(picture.image)
            image_editor_preview.show(picture.image)
        if self.viewport.is_on:
            self.viewport.take(picture)

    def step(self, session: Session) -> None:
        """Switch the 3-D view's picture on or off: it is there while a job is followed and a scene wants it."""
        windows = bpy.context.window_manager.windows
        scenes = {window.scene for window in windows if window.scene.limbeck.viewport_preview}
        job = session.followed
        # A picture has no place in the scene.
        if not scenes or job is None or job.has_ended or job.makes_picture or not session.is_busy:
            if self.viewport.is_on:
                self.viewport.hide()
            return
        placements = {scene.name: _placement(scene, job.job_id) for scene in scenes}
        size = max(scene.limbeck.viewport_preview_size for scene in scenes)
        self.viewport.show({name: one for name, one in placements.items() if one is not None}, size)

    def clear(self) -> None:
        """Take everything away again."""
        self.sidebar.clear()
        self.viewport.hide()
        image_editor_preview.clear()


def _placement(scene: bpy.types.Scene, job_id: str) -> Placement | None:
    """Return where the job's object belongs in the scene; None if another scene asked for it."""
    entry = scene.limbeck.jobs.get(job_id)
    return None if entry is None else Placement(tuple(entry.location), tuple(entry.rotation), entry.size)
