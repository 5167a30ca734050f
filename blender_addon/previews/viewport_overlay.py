"""The growing object in the 3-D view, seen from the user's own view, over the scene: one draw handler while it is on.

Rules of this file: the handler reads matrices, notes from where the view looks, and draws the newest picture; it asks
nobody and waits for nothing. A picture that is older than the view is drawn as a still, where the object is now. Pixels
go to the graphics card inside the handler only, so never in the background.
"""

from __future__ import annotations

import time
from typing import Any

import bpy
import numpy as np
from limbeck_protocol.messages import Preview, ViewerCamera
from mathutils import Matrix, Quaternion

from ..rig.placement import Placement
from .viewer_camera import Rectangle, Sight, lens_for, place_on_screen, sight_of

MOST_PER_S = 4.0
"""How often a moving view is told to the server."""
STILL_AFTER_S = 3.0
"""Without a picture from the view for so long, the job's own still is drawn."""
UNSEEN_PICTURES = 3
"""So many pictures without a redraw: nobody looks, and no more are asked for."""


class ViewportOverlay:
    """What the 3-D views show of the job that is followed; made once, drawing only between `show` and `hide`."""

    def __init__(self) -> None:
        self._handler: Any = None
        self._frames: dict[str, np.ndarray] = {}
        """By name of the scenes that show it: the object's frame, (4, 4)."""
        self._size = 0
        self._sights: dict[int, Sight] = {}
        """By region: what it saw when it was drawn last."""
        self._source: int | None = None
        """The region whose view changed last: it alone shows the object."""
        self._wanted: ViewerCamera | None = None
        self._wanted_at = 0.0
        self._picture: Preview | None = None
        """The newest from the view."""
        self._still: Preview | None = None
        """The job's own newest, for those who wait too long for something better."""
        self._shown_at = 0.0
        self._unseen = 0
        self._texture: Any = None
        self._textured: Preview | None = None

    @property
    def is_on(self) -> bool:
        """Whether the handler is there."""
        return self._handler is not None

    # --- what the session's timer calls ---

    def show(self, placements: dict[str, Placement], size: int) -> None:
        """Draw from now on.

        Args:
            placements: by the name of a scene, where the object grows in it.
            size: side of the pictures in pixels.
        """
        self._frames = {scene: _matrix(placement) for scene, placement in placements.items()}
        self._size = size
        if self._handler is None and not bpy.app.background:
            self._shown_at = time.monotonic()
            self._handler = bpy.types.SpaceView3D.draw_handler_add(self._draw, (), "WINDOW", "POST_PIXEL")
            redraw_views()

    def hide(self) -> None:
        """Draw no more, and forget what was drawn."""
        if self._handler is not None:
            bpy.types.SpaceView3D.draw_handler_remove(self._handler, "WINDOW")
            redraw_views()
        self.__init__()  # type: ignore[misc]  # as it was made

    def viewer(self) -> ViewerCamera | None:
        """Return from where the user looks, as a new object whenever that has changed, but not too often.

        None while the object is nowhere to be seen.
        """
        sight = self._sights.get(self._source) if self._source is not None else None
        lens = lens_for(sight) if sight is not None and self._unseen < UNSEEN_PICTURES else None
        if lens is None:
            self._wanted = None
        elif time.monotonic() - self._wanted_at >= 1.0 / MOST_PER_S:
            matrix, lens = sight.camera_to_world.astype(np.float32), lens.astype(np.float32)
            if not self._is_wanted(matrix, lens):
                self._wanted = ViewerCamera(camera_to_world=matrix, lens=lens, size=self._size)
                self._wanted_at = time.monotonic()
        return self._wanted

    def take(self, picture: Preview) -> None:
        """Draw this picture from now on. Anything else than (h, w, 3 or 4) uint8 from a camera is left alone."""
        view, image = picture.view, picture.image
        if view is None or image is None or view.camera_to_world.shape != (4, 4) or view.lens.shape != (3,):
            return
        if image.ndim != 3 or image.shape[2] not in (3, 4) or image.dtype != np.uint8:
            return
        if picture.from_viewer:
            self._picture = picture
        else:
            self._still = picture
        self._unseen += 1
        if self.is_on:
            redraw_views()

    def _is_wanted(self, matrix: np.ndarray, lens: np.ndarray) -> bool:
        wanted = self._wanted
        return (
            wanted is not None
            and wanted.size == self._size
            and np.allclose(wanted.camera_to_world, matrix, atol=1e-5)
            and np.allclose(wanted.lens, lens, rtol=1e-4, atol=1e-5)
        )

    # --- what a redraw does ---

    def look(self, region: int, sight: Sight) -> None:
        """Note what a region sees; the one that has changed is where the user looks."""
        before = self._sights.get(region)
        self._sights[region] = sight
        has_moved = before is None or not np.allclose(before.camera_to_world, sight.camera_to_world, atol=1e-6)
        has_moved = has_moved or not np.allclose(before.window, sight.window, atol=1e-6)
        if self._source is None or (has_moved and before is not None):
            self._source = region
        if region == self._source:
            self._unseen = 0

    def place(self, region: int) -> Rectangle | None:
        """Return where the newest picture belongs, in shares of the region; None if there is none for this one."""
        sight, picture = self._sights.get(region), self._newest()
        if region != self._source or sight is None or picture is None:
            return None
        return place_on_screen(sight, picture.view.camera_to_world, picture.view.lens)

    def _newest(self) -> Preview | None:
        return self._picture or (self._still if time.monotonic() - self._shown_at > STILL_AFTER_S else None)

    def _draw(self) -> None:
        context = bpy.context
        frame = self._frames.get(context.scene.name) if context.scene else None
        region, data = context.region, context.region_data
        if frame is None or region is None or data is None:
            return
        sight = sight_of(np.asarray(data.view_matrix), np.asarray(data.window_matrix), frame)
        if sight is None:
            return
        key = region.as_pointer()
        self.look(key, sight)
        place = self.place(key)
        if place is not None:
            left, right, bottom, top = np.multiply(place, (region.width, region.width, region.height, region.height))
            self._draw_picture(float(left), float(right), float(bottom), float(top))

    def _draw_picture(self, left: float, right: float, bottom: float, top: float) -> None:
        import gpu
        from gpu_extras.batch import batch_for_shader

        picture = self._newest()
        if self._textured is not picture:
            pixels = texels(picture.image)
            height, width = pixels.shape[:2]
            buffer = gpu.types.Buffer("FLOAT", pixels.size, np.ascontiguousarray(pixels.reshape(-1)))
            self._texture = gpu.types.GPUTexture((width, height), format="RGBA16F", data=buffer)
            self._textured = picture
        shader = gpu.shader.from_builtin("IMAGE")
        corners = {
            "pos": [(left, bottom), (right, bottom), (right, top), (left, top)],
            "texCoord": [(0, 0), (1, 0), (1, 1), (0, 1)],
        }
        batch = batch_for_shader(shader, "TRIS", corners, indices=[(0, 1, 2), (0, 2, 3)])
        gpu.state.blend_set("ALPHA_PREMULT")
        shader.uniform_sampler("image", self._texture)
        batch.draw(shader)
        gpu.state.blend_set("NONE")


def texels(image: np.ndarray) -> np.ndarray:
    """Return (h, w, 4) float32 in 0..1, colour times opacity, first row at the bottom, of a picture as it travels."""
    pixels = np.ones((*image.shape[:2], 4), dtype=np.float32)
    pixels[..., : image.shape[2]] = image[::-1].astype(np.float32) / 255.0
    return pixels


def redraw_views() -> None:
    """Have the 3-D views drawn anew; their sidebars stay as they are."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                for region in area.regions:
                    if region.type == "WINDOW":
                        region.tag_redraw()


def _matrix(placement: Placement) -> np.ndarray:
    rotation = Quaternion(placement.rotation)
    return np.asarray(Matrix.LocRotScale(placement.location, rotation, (placement.size,) * 3), dtype=np.float64)
