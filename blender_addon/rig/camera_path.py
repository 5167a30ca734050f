"""Cameras evaluated at other frames than the one the user looks at, without the user noticing.

A private scene is made, the cameras are linked into it, and its frame is set; Blender evaluates parents, constraints,
drivers and lenses for it as for any scene. It is not the scene of a window, so nothing is written back: the user's
frame, the viewport, and changes that are not keyed yet stay as they are. The private scene is gone when we return.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import bpy
import numpy as np

Evaluated = Callable[[bpy.types.Object, float], bpy.types.Object]
_SCENE_NAME = "Limbeck: cameras at other frames"


@contextmanager
def evaluation(scene: bpy.types.Scene, cameras: Sequence[bpy.types.Object]) -> Iterator[Evaluated]:
    """Within the `with` block, a function of a camera and a frame returns that camera evaluated at that frame.

    What it returns is valid until its next call. Frames may have fractions. A camera that is disabled in viewports
    comes back as it is, not evaluated (`is_evaluated` is False).

    Args:
        scene: its frame mapping and frame rate count.
        cameras: the cameras that will be asked for.
    """
    private = bpy.data.scenes.new(_SCENE_NAME)
    try:
        for name in ("frame_map_old", "frame_map_new", "fps", "fps_base"):
            setattr(private.render, name, getattr(scene.render, name))
        for camera in dict.fromkeys(cameras):
            private.collection.objects.link(camera)
        last: list[float] = []

        def evaluated(camera: bpy.types.Object, frame: float) -> bpy.types.Object:
            if last != [frame]:
                whole = int(np.floor(frame))
                private.frame_set(whole, subframe=frame - whole)
                last[:] = [frame]
            return camera.evaluated_get(private.view_layers[0].depsgraph)

        yield evaluated
    finally:
        bpy.data.scenes.remove(private)


def path_frames(scene: bpy.types.Scene, samples: int) -> list[float]:
    """Return `samples` frames, evenly spaced from the scene's first to its last; fewer if the scene has but one."""
    frames = np.linspace(scene.frame_start, scene.frame_end, samples)
    return [float(frame) for frame in np.unique(frames.round(3))]


def camera_at(scene: bpy.types.Scene, frame: float) -> bpy.types.Object | None:
    """Return the camera that the scene looks through at a frame: timeline markers may bind one, as for rendering."""
    bound = [marker for marker in scene.timeline_markers if marker.camera is not None]
    if not bound:
        return scene.camera
    before = [marker for marker in bound if marker.frame <= frame]
    # Before the first marker, Blender looks through the first one's camera.
    marker = max(before, key=lambda one: one.frame) if before else min(bound, key=lambda one: one.frame)
    return marker.camera


def path_cameras(scene: bpy.types.Scene, samples: int) -> list[tuple[bpy.types.Object, float]]:
    """Return the camera and the frame of each sample of the active camera's path; empty without a camera."""
    pairs = [(camera_at(scene, frame), frame) for frame in path_frames(scene, samples)]
    return [(camera, frame) for camera, frame in pairs if camera is not None]
