"""A field on stage: lit, in front of a background, with the map of where it is; rendered for training or as a still."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from limbeck_server.distillation.device import autocast
from limbeck_server.distillation.injection import DivergedError
from limbeck_server.scene.background import LEARNED_BACKGROUNDS, EnvironmentMap, views_background
from limbeck_server.scene.cameras import Views
from limbeck_server.scene.field import Field
from limbeck_server.scene.occupancy import Both, HasDensity, OccupancyGrid, OccupancySettings
from limbeck_server.scene.renderer import Rendering, RenderSettings, render
from limbeck_server.scene.shading import Shading, choose_shading, sample_lights


@dataclass(frozen=True)
class StageSettings:
    """How a field is shown; the words are those of `TrainerSettings`."""

    rendering: RenderSettings
    background: str
    shading: str
    albedo_until: float
    lit_share: float
    textureless_share: float


class Stage:
    """What renders a field. `environment` is the learned background, where there is one."""

    def __init__(self, field: Field, settings: StageSettings, device: torch.device, generator: torch.Generator) -> None:
        self.field, self.settings, self.device = field, settings, device
        self.shown: HasDensity = field
        self.occupancy = OccupancyGrid(OccupancySettings(bound=field.settings.bound), device)
        learned = settings.background in LEARNED_BACKGROUNDS
        self.environment = EnvironmentMap(generator, device) if learned else None

    def parameter_groups(self, learning_rate: float) -> Iterable[dict[str, Any]]:
        """Return what the optimiser moves: the field, and the environment map where there is one."""
        yield from self.field.parameter_groups(learning_rate)
        if self.environment is not None:
            yield from self.environment.parameter_groups(learning_rate)

    def beside(self, other: Field) -> Stage:
        """Return a stage for another field that shares this one's background and map, which knows of both from now on.

        With one map, two fields that are the same are rendered the same, bit by bit.
        """
        twin = copy.copy(self)
        twin.field = other
        self.shown = Both(self.field, other)
        return twin

    def refresh(self, step: int, generator: torch.Generator) -> None:
        """Bring the map of what there is up to date, if this step is one at which that is due.

        Raises:
            DivergedError: a density met is not a number. The renderer drops what is not opaque, and a NaN is not: a
                lost region would show as empty space for ever, and the gradient of what is left would be finite.
        """
        self.occupancy.maybe_refresh(self.shown, step, generator)
        if not bool(self.occupancy.estimate.isfinite().all()):
            raise DivergedError(
                f"the scene has densities that are not finite at step {step}. Lower the learning rate, the guidance "
                "scale or the weights of the regularisers."
            )

    def render(
        self, views: Views, size: int, share: float, generator: torch.Generator, with_normals: bool
    ) -> Rendering:
        """Render as training does: background, light and jitter drawn from the generator, in this order."""
        settings, shading = self.settings, Shading()
        background = views_background(settings.background, views, size, self.environment, generator)
        kind = choose_shading(
            settings.shading,
            share,
            settings.albedo_until,
            settings.lit_share,
            settings.textureless_share,
            generator,
        )
        if kind != "albedo":
            shading = Shading(kind, sample_lights("camera", views.positions, generator))
        with autocast(self.device):
            return render(
                self.field,
                views,
                size,
                background.to(self.device),
                settings.rendering,
                generator=generator,
                occupancy=self.occupancy,
                shading=shading,
                with_normals=with_normals,
            )

    @torch.no_grad()
    def render_still(self, views: Views, size: int, background: Tensor | None = None) -> Rendering:
        """Return what the views see, without randomness or lights; the background (views, 3) is grey unless given."""
        if background is None:
            background = torch.full((len(views), 3), 0.5)
        return render(
            self.field,
            views.to(self.device),
            size,
            background.to(self.device),
            self.settings.rendering,
            occupancy=self.occupancy,
        )
