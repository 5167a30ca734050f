"""The recipe: everything that determines a result, as messages.

A client sends a recipe whose `settings` may be partly unset; the server fills them from the preset, stores the
completed recipe, and every later reader sees the completed one. Arrays (camera matrices, lenses, weights) are numpy
arrays here; `codec.py` carries them as frames on the wire, `recipe_to_json` as nested lists on disk and on Blender
objects. What the types cannot say about a recipe (no camera, a mirrored matrix) is said by `check_recipe`.
"""

from __future__ import annotations

import itertools
import json
import math
import unicodedata
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import numpy as np
from msgspec import UNSET, Meta, UnsetType

from limbeck_protocol.camera_checks import check_cameras, invalid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]
else:
    Array = np.ndarray  # msgspec reads annotations while running, and takes no generic arrays

MAX_CAMERAS = 512
MAX_PROMPT_CHARACTERS = 2000
FIELD_FILE = "field.safetensors"
"""The artifact of a finished job that another job can begin with."""

Prompt = Annotated[str, Meta(max_length=MAX_PROMPT_CHARACTERS)]
Name = Annotated[str, Meta(min_length=1, max_length=200)]
Share = Annotated[float, Meta(ge=0.0, le=1.0)]
JobId = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_-]{8,64}\Z")]
Degrees = Annotated[float, Meta(ge=-360.0, le=360.0)]


class Orbit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A distribution of cameras around the object, all looking at its centre.

    Azimuth 0 sees the object's front (the camera stands on -Y), azimuth 90 its left side (the camera on +X).
    Lengths are in the object's own unit: the object fits into a ball of radius 0.6.
    """

    azimuth_deg: tuple[Degrees, Degrees] = (-180.0, 180.0)
    elevation_deg: tuple[Degrees, Degrees] = (-30.0, 60.0)
    distance: tuple[Annotated[float, Meta(gt=0.0, le=100.0)], Annotated[float, Meta(gt=0.0, le=100.0)]] = (2.0, 2.1)
    field_of_view_deg: tuple[Annotated[float, Meta(gt=1.0, lt=170.0)], Annotated[float, Meta(gt=1.0, lt=170.0)]] = (
        40.5,
        41.5,
    )
    jitter: Share = 0.02
    """Standard deviation of the look-at point, in object units."""
    weight: Annotated[float, Meta(ge=0.0, le=1e6)] = 1.0
    """How often the orbit is drawn from, against the cameras' weights added up."""


class Cameras(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Explicit cameras, in the object's frame (its bounding ball around the origin, front -Y, up +Z).

    Shapes: `camera_to_world` (n, 4, 4) float32, cameras look along their own -Z with +Y up; `lens` (n, 3) float32:
    focal length, horizontal and vertical shift, all as shares of the picture's height; `weight` (n,) float32.
    """

    camera_to_world: Array
    lens: Array
    weight: Array
    prompt_suffix: Annotated[list[Annotated[str, Meta(max_length=200)]], Meta(max_length=MAX_CAMERAS)]
    """What each camera appends to the prompt; an empty string lets the view words be chosen by its position."""
    position_jitter: Share = 0.0
    """Standard deviation of each camera's position, in object units."""


class Rig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where cameras may stand: an orbit, explicit cameras, or both."""

    orbit: Orbit | None = None
    cameras: Cameras | None = None


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Everything tunable. What is unset is decided by the preset; a schedule is a list of [share of the run, value]."""

    steps: Annotated[int, Meta(ge=1, le=200_000)] | UnsetType = UNSET
    guidance_scale: Annotated[float, Meta(ge=0.0, le=1000.0)] | UnsetType = UNSET
    """diffusers' convention: 1 = no guidance."""
    loss_parameters: dict[str, float | Annotated[str, Meta(max_length=40)]] | UnsetType = UNSET
    """The loss's own parameters, numbers or choices; names, ranges and choices stand in the server's catalog."""
    views_per_step: Annotated[int, Meta(ge=1, le=64)] | UnsetType = UNSET
    render_size: (
        Annotated[list[tuple[Share, Annotated[int, Meta(ge=16, le=1024)]]], Meta(min_length=1, max_length=16)]
        | UnsetType
    ) = UNSET
    """Side of the rendered square in pixels: steps of (share of the run from which it holds, size)."""
    timestep_min: Share | UnsetType = UNSET
    timestep_max: Annotated[list[tuple[Share, Share]], Meta(min_length=1, max_length=16)] | UnsetType = UNSET
    """Upper end of the timestep range as a share of the schedule: piecewise linear in the share of the run."""
    timestep_schedule: Annotated[str, Meta(max_length=40)] | UnsetType = UNSET
    """`uniform` (at random in the range), or falling over the run: `linear` (SDI), `hifa`, `dreamtime`."""
    guidance_interval: tuple[Share, Share] | UnsetType = UNSET
    """Between which shares of the schedule the guidance scale holds; outside it is 1."""
    perp_neg: Annotated[float, Meta(ge=0.0, le=100.0)] | UnsetType = UNSET
    """Factor on Perp-Neg's weights, which keep other views' looks out of a view: 0 = off, 1 = as published."""
    gradient_clamp: (
        Annotated[list[tuple[Share, Annotated[float, Meta(gt=0.0, le=1e6)]]], Meta(min_length=1, max_length=16)]
        | UnsetType
        | None
    ) = UNSET
    """Largest element of the latents' gradient, piecewise linear in the share of the run; None = no limit."""
    pixel_clip: Annotated[float, Meta(gt=0.0, le=1e6)] | UnsetType | None = UNSET
    """Largest channel of a rendered pixel's gradient (PGC-3D); None = no limit."""
    weighting: Annotated[str, Meta(max_length=40)] | UnsetType = UNSET
    """Name of w(t): `noise_variance` (sigma^2), `uniform`, `signal_noise` (Fantasia3D), `noise_to_signal` (ISM)."""
    learning_rate: Annotated[float, Meta(gt=0.0, le=10.0)] | UnsetType = UNSET
    density_pace: Annotated[float, Meta(gt=0.0, le=10.0)] | UnsetType = UNSET
    """How fast density learns, as a share of its usual pace: low where the shape shall stay and colours may change."""
    background: Annotated[str, Meta(max_length=40)] | UnsetType = UNSET
    """`random` (one random colour a view), `grey`, `white`, `black`, `learned` (an environment of its own) or
    `alternating` (each view random or learned)."""
    shading: Annotated[str, Meta(max_length=40)] | UnsetType = UNSET
    """`albedo`, `lambert`, `textureless`, or `mixed` (albedo at first, then the three by chance)."""
    albedo_until: Share | UnsetType = UNSET
    """Share of the run that `mixed` shading begins with albedo only."""
    lit_share: Share | UnsetType = UNSET
    """Probability that a later step of `mixed` shading is lit."""
    textureless_share: Share | UnsetType = UNSET
    """Probability that a lit step of `mixed` shading is textureless."""
    field: Annotated[str, Meta(max_length=40)] | UnsetType = UNSET
    """`voxels` or `hash_grid`."""
    field_resolution: Annotated[int, Meta(ge=8, le=4096)] | UnsetType = UNSET
    samples_per_ray: Annotated[int, Meta(ge=8, le=2048)] | UnsetType = UNSET
    regularizers: (
        dict[
            str,
            Annotated[list[tuple[Share, Annotated[float, Meta(ge=0.0, le=1e6)]]], Meta(min_length=1, max_length=16)],
        ]
        | UnsetType
    ) = UNSET
    """Weights of `orientation`, `sparsity`, `opaqueness`, `total_variation`: each piecewise linear in the share of
    the run."""
    preview_every: Annotated[int, Meta(ge=1, le=10_000)] | UnsetType = UNSET
    mesh_resolution: Annotated[int, Meta(ge=16, le=1024)] | UnsetType = UNSET
    density_level: Annotated[float, Meta(gt=0.0, le=1e6)] | UnsetType | None = UNSET
    """Density of the surface; None chooses it by silhouettes."""
    face_budget: Annotated[int, Meta(ge=100, le=10_000_000)] | UnsetType = UNSET
    texture_size: Annotated[int, Meta(ge=64, le=8192)] | UnsetType = UNSET
    threads: Annotated[int, Meta(ge=1, le=256)] | UnsetType = UNSET
    device: Annotated[str, Meta(max_length=40)] | UnsetType = UNSET
    """`auto`, `cpu`, `cuda` or `cuda:N`."""


class Start(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A finished job on the same server, whose field another job begins with instead of a ball."""

    job_id: JobId
    prompt: Annotated[str, Meta(min_length=1, max_length=MAX_PROMPT_CHARACTERS)]
    """What that field was made of; the loss `dds` compares the prompt with it."""


class Image(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A picture is made instead of an object: no field, no cameras, no mesh; the rig means nothing."""

    generator: Annotated[str, Meta(max_length=40)] | None = None
    """What is optimised: `latents` (what the prior diffuses), `pixels`, or `mlp` (coordinates to colours); None = what
    the preset is made for."""
    size: Annotated[int, Meta(ge=16, le=2048)] | None = None
    """Side in pixels; None = that of the prior's own pictures."""


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that determines a result."""

    prompt: Annotated[str, Meta(min_length=1, max_length=MAX_PROMPT_CHARACTERS)]
    negative_prompt: Prompt | None = None
    """None lets the prior choose: the exact prior's degraded pictures, NFSD's quality words for a network."""
    loss: Name = "sds"
    prior: Name = "exact"
    """`exact`, `network`, `stable-diffusion`, a hub id such as `owner/name`, or a local folder."""
    preset: Name = "standard"
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    rig: Rig = msgspec.field(default_factory=lambda: Rig(orbit=Orbit()))
    settings: Settings = msgspec.field(default_factory=Settings)
    start: Start | UnsetType = UNSET
    """The job to begin with. Unset begins with a ball, and is left out wherever the recipe is written: so servers that
    know no starts understand it too, and no recipe's digest changed when this field came."""
    image: Image | UnsetType = UNSET
    """Set for a job that makes a picture; left out, like `start`, wherever a recipe without it is written."""
    versions: dict[str, str] = msgspec.field(default_factory=dict)
    """Filled by the server: versions of Limbeck, torch and what else changes numbers."""


def encode_array_as_list(value: Any) -> Any:
    """Return numpy arrays as nested lists (an `enc_hook` of msgspec)."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"cannot put a {type(value).__name__} into a recipe")


def decode_array_from_list(kind: type, value: Any) -> Any:
    """Return nested lists as float32 arrays (a `dec_hook` of msgspec)."""
    if kind is np.ndarray:
        return np.asarray(value, dtype=np.float32)
    raise TypeError(f"cannot read a {kind.__name__} from a recipe")


def recipe_to_json(recipe: Recipe) -> str:
    """Return the recipe as JSON text, arrays as nested lists, keys in a stable order."""
    return json.dumps(msgspec.to_builtins(recipe, enc_hook=encode_array_as_list), indent=2, sort_keys=True)


def recipe_from_json(text: str | bytes) -> Recipe:
    """Read what `recipe_to_json` wrote.

    Raises:
        msgspec.ValidationError, json.JSONDecodeError: the text is no recipe.
    """
    return msgspec.convert(json.loads(text), Recipe, dec_hook=decode_array_from_list)


_CONTROL_CATEGORIES = frozenset({"Cc", "Cs", "Co", "Cn"})
_BIDIRECTIONAL_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""They make a text look like another one."""


def check_recipe(recipe: Recipe) -> None:
    """See that a recipe makes sense, also one that was built in Python, where msgspec checks nothing.

    Names (loss, prior, preset, parameters) are not looked up: only a server knows which exist.

    Raises:
        LimbeckError: INVALID_FIELD, with the dotted name of the field in the remedy.
    """
    _check_types(recipe)
    if not recipe.prompt.strip():
        raise invalid("recipe.prompt", "expected words; the prompt is blank.")
    for name in ("prompt", "negative_prompt", "loss", "prior", "preset"):
        _check_text(getattr(recipe, name) or "", f"recipe.{name}")
    if recipe.start:
        if not recipe.start.prompt.strip():
            raise invalid("recipe.start.prompt", "expected the words that the start was made of; it is blank.")
        _check_text(recipe.start.prompt, "recipe.start.prompt")
        if recipe.image:
            raise invalid("recipe.start", "expected either a start or an image; a picture begins with nothing.")
    if recipe.image and recipe.image.generator is not None:
        if not recipe.image.generator.strip():
            raise invalid("recipe.image.generator", "expected the name of what is optimised; it is blank.")
        _check_text(recipe.image.generator, "recipe.image.generator")
    _check_rig(recipe.rig)
    _check_settings(recipe.settings)


def _check_types(recipe: Recipe) -> None:
    """Hold the recipe against its own annotations: types, ranges, lengths, and that every number is finite."""
    arrays: list[Any] = []

    def set_aside(value: Any) -> Any:
        arrays.append(value)
        return {"array": len(arrays) - 1}

    def put_back(kind: type, value: Any) -> Any:
        return arrays[value["array"]]

    try:
        plain = msgspec.to_builtins(recipe, enc_hook=set_aside)
        msgspec.convert(plain, Recipe, strict=True, dec_hook=put_back)
    except (msgspec.ValidationError, TypeError) as error:
        what, _, where = str(error).partition(" - at `$")
        field = f"recipe{where.rstrip('`')}"
        raise invalid(field, f"{what}.") from error
    if not _all_finite(plain):
        raise invalid("recipe", "expected finite numbers everywhere; there is a NaN or an infinity.")


def _all_finite(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_all_finite, value.values()))
    if isinstance(value, (list, tuple)):
        return all(map(_all_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _check_text(text: str, field: str) -> None:
    for character in text:
        if unicodedata.category(character) in _CONTROL_CATEGORIES or character in _BIDIRECTIONAL_CONTROLS:
            raise invalid(field, f"expected plain text on one line; it holds the control character {character!r}.")


def _check_rig(rig: Rig) -> None:
    if rig.orbit is None and rig.cameras is None:
        raise invalid("recipe.rig", "expected an orbit, cameras or both; the rig is empty.")
    total = 0.0
    if rig.orbit is not None:
        total += rig.orbit.weight
        for name in ("azimuth_deg", "elevation_deg", "distance", "field_of_view_deg"):
            low, high = getattr(rig.orbit, name)
            if low > high:
                raise invalid(f"recipe.rig.orbit.{name}", f"expected the lower end first; {low:g} is above {high:g}.")
        if not -90.0 <= rig.orbit.elevation_deg[0] <= rig.orbit.elevation_deg[1] <= 90.0:
            raise invalid("recipe.rig.orbit.elevation_deg", "expected elevations between -90 and 90 degrees.")
    if rig.cameras is not None:
        cameras = rig.cameras
        check_cameras(
            cameras.camera_to_world,
            cameras.lens,
            cameras.weight,
            cameras.prompt_suffix,
            MAX_CAMERAS,
            "recipe.rig.cameras",
        )
        for suffix in cameras.prompt_suffix:
            _check_text(suffix, "recipe.rig.cameras.prompt_suffix")
        total += float(cameras.weight.sum())
    if not total > 0.0:
        raise invalid("recipe.rig", "expected at least one weight above 0; no camera would ever be chosen.")


def _check_settings(settings: Settings) -> None:
    schedules: dict[str, Any] = {"timestep_max": settings.timestep_max, "render_size": settings.render_size}
    if settings.regularizers is not UNSET:
        schedules |= {f"regularizers.{name}": schedule for name, schedule in settings.regularizers.items()}
    schedules["gradient_clamp"] = UNSET if settings.gradient_clamp is None else settings.gradient_clamp
    for name, schedule in schedules.items():
        if schedule is UNSET:
            continue
        shares = [share for share, _ in schedule]
        if any(before > after for before, after in itertools.pairwise(shares)):
            raise invalid(f"recipe.settings.{name}", "expected shares of the run in rising order.")
        if name == "render_size" and shares[0] != 0.0:
            raise invalid("recipe.settings.render_size", "expected the first size to hold from share 0 of the run.")
    if settings.guidance_interval is not UNSET and settings.guidance_interval[0] > settings.guidance_interval[1]:
        low, high = settings.guidance_interval
        raise invalid("recipe.settings.guidance_interval", f"expected the lower end first; {low:g} is above {high:g}.")
    if settings.timestep_min is not UNSET and settings.timestep_max is not UNSET:
        lowest = min(value for _, value in settings.timestep_max)
        if settings.timestep_min > lowest:
            raise invalid(
                "recipe.settings.timestep_min",
                f"expected at most the lowest upper end, {lowest:g}; it is {settings.timestep_min:g}.",
            )
