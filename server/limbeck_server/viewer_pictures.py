"""Pictures of the growing object: the job's own, and those that viewers ask for, within a share of the time.

Nothing here changes what comes out of a job: pictures are rendered without gradient and without a random draw, from the
field and the occupancy map as they are.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from limbeck_protocol.messages import PreviewReady, View, ViewerCamera
from numpy.typing import NDArray
from torch import Tensor

from limbeck_server.distillation.trainer import Trainer
from limbeck_server.scene.cameras import Views, orbit_views

PREVIEW_SIZE = 128
"""Side of the job's own pictures in pixels."""
PREVIEW_BACKGROUND = 0.85
VIEWERS_SHARE = 0.08
"""Of the optimiser's wall time, what viewers' pictures may take. With what is not measured here, sending them, caches
that they empty, it stays below the tenth that is promised."""
SAVED_S = 0.25
"""How much unused time for pictures is kept: a viewer who comes late does not get all of it at once."""


def own_picture(trainer: Trainer) -> PreviewReady:
    """Return the object as (h, w, 3) uint8 from its front left, a little from above.

    Before a light grey: the start blob is a middle grey, and has to be seen too.
    """
    views = orbit_views(torch.tensor([30.0]), torch.tensor([20.0]))
    image = trainer.render_still(views, PREVIEW_SIZE, torch.full((1, 3), PREVIEW_BACKGROUND)).image
    return PreviewReady(step=trainer.steps_done, image=_bytes(image), view=as_view(views))


def viewer_picture(trainer: Trainer, viewer: ViewerCamera) -> PreviewReady:
    """Return what the viewer sees as (size, size, 4) uint8: colour times opacity, and opacity."""
    views = Views(torch.tensor(viewer.camera_to_world)[None], torch.tensor(viewer.lens)[None])
    rendering = trainer.render_still(views, viewer.size)
    image = torch.cat([rendering.colour, rendering.opacity], dim=1)
    return PreviewReady(step=trainer.steps_done, image=_bytes(image), from_viewer=True, view=as_view(views))


def as_view(views: Views) -> View:
    """Return the first of some views as a message tells of it."""
    matrix, lens = views.camera_to_world[0].float().cpu().numpy(), views.lens[0].float().cpu().numpy()
    return View(camera_to_world=matrix, lens=lens)


def _bytes(image: Tensor) -> NDArray[np.uint8]:
    """Return the first picture of (views, channels, h, w) in 0..1 as (h, w, channels) uint8."""
    rounded: NDArray[np.uint8] = (image[0].clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    return rounded


class ViewerPictures:
    """Renders for viewers when there is time for it.

    Optimising earns time: `VIEWERS_SHARE` of what it took. A picture is made once as much has been earned as it will
    take, judged by the one before; then what it really took is spent, and a debt is worked off before the next. So the
    pictures' share holds whatever their size: it is only their rate that falls.

    Args:
        render: makes a picture.
        clock: seconds.
    """

    def __init__(
        self,
        render: Callable[[Trainer, ViewerCamera], PreviewReady] = viewer_picture,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._render, self._clock = render, clock
        self._answered: ViewerCamera | None = None
        self._earned_s = self._awaited_s = self._seconds_per_pixel = 0.0

    def optimised(self, seconds: float) -> None:
        """Note that the optimiser has worked for so long."""
        most_s = max(SAVED_S, self._awaited_s, self._earned_s)
        self._earned_s = min(self._earned_s + VIEWERS_SHARE * seconds, most_s)

    def answer(self, trainer: Trainer, viewer: ViewerCamera | None) -> PreviewReady | None:
        """Return the picture that was asked for; None if there is no time for it yet, or none was asked for.

        Args:
            trainer: whose object it is.
            viewer: from where; each object is answered once.
        """
        if viewer is None or viewer is self._answered:
            return None
        self._awaited_s = self._seconds_per_pixel * viewer.size**2
        if self._earned_s < self._awaited_s or self._earned_s <= 0:
            return None
        begun = self._clock()
        picture = self._render(trainer, viewer)
        seconds = self._clock() - begun
        self._earned_s -= seconds
        self._seconds_per_pixel, self._awaited_s = seconds / viewer.size**2, 0.0
        self._answered = viewer
        return picture
