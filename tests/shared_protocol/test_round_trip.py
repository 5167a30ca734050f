"""Every message type, with values drawn from its own annotations, survives the way through frames and pipes."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, get_args

import msgspec
import msgspec.inspect as inspect
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from limbeck_protocol import messages
from limbeck_protocol.codec import (
    decode_reply,
    decode_request,
    decode_worker_event,
    encode_message,
    pack_frames,
    unpack_frames,
)
from limbeck_protocol.recipe import (
    Cameras,
    Image,
    Orbit,
    Recipe,
    Rig,
    Settings,
    Start,
    check_recipe,
    recipe_from_json,
    recipe_to_json,
)

QUICK = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
IDS = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
JOB_ID = r"[A-Za-z0-9_-]{8,64}"
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


def strategy_of(kind: inspect.Type) -> st.SearchStrategy[Any]:
    """Values of an annotated type, from what msgspec knows of it, so that a new field is covered by being there."""
    match kind:
        case inspect.IntType():
            low = kind.ge if kind.ge is not None else -(2**53)
            return st.integers(low, kind.le if kind.le is not None else 2**53)
        case inspect.FloatType():
            low, high = kind.ge if kind.gt is None else kind.gt, kind.le if kind.lt is None else kind.lt
            return st.floats(
                low,
                high,
                allow_nan=False,
                allow_infinity=False,
                exclude_min=kind.gt is not None,
                exclude_max=kind.lt is not None,
            )
        case inspect.StrType(pattern=str()):
            return st.from_regex(kind.pattern, fullmatch=True)
        case inspect.StrType():
            return st.text(
                st.characters(categories=("L", "N", "P", "S"), codec="utf-8"),
                min_size=kind.min_length or 0,
                max_size=min(kind.max_length or 30, 30),
            )
        case inspect.BoolType():
            return st.booleans()
        case inspect.NoneType():
            return st.none()
        case inspect.AnyType():
            return PLAIN
        case inspect.EnumType():
            return st.sampled_from(kind.cls)
        case inspect.ListType():
            item = strategy_of(kind.item_type)
            return st.lists(item, min_size=kind.min_length or 0, max_size=min(kind.max_length or 3, 3))
        case inspect.TupleType():
            return st.tuples(*map(strategy_of, kind.item_types))
        case inspect.DictType():
            return st.dictionaries(strategy_of(kind.key_type), strategy_of(kind.value_type), max_size=3)
        case inspect.UnionType():
            return st.one_of([strategy_of(option) for option in kind.types])
        case inspect.CustomType():
            return arrays()
        case inspect.StructType(cls=cls) if cls is Recipe:
            return recipes()
        case inspect.StructType(cls=cls) if cls is messages.ViewerCamera:
            return viewers()
        case inspect.StructType():
            return struct_of(kind)
    raise AssertionError(f"no strategy for {kind}")


def struct_of(kind: inspect.StructType) -> st.SearchStrategy[Any]:
    required = {f.name: strategy_of(f.type) for f in kind.fields if f.required}
    optional = {f.name: strategy_of(f.type) for f in kind.fields if not f.required}
    return st.fixed_dictionaries(required, optional=optional).map(lambda values: kind.cls(**values))


@st.composite
def arrays(draw: Callable[..., Any]) -> np.ndarray:
    shape = draw(st.lists(st.integers(0, 4), max_size=4))
    dtype = np.dtype(draw(st.sampled_from(["u1", "<u2", "<u4", "<i4", "<f2", "<f4"])))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    return np.asarray(100 * generator.random(shape)).astype(dtype)


def rotations(generator: np.random.Generator, count: int) -> np.ndarray:
    """(count, 4, 4): rotations by the QR decomposition of random matrices, mirrored ones turned back, and places."""
    matrices = np.tile(np.eye(4), (count, 1, 1))
    q, _ = np.linalg.qr(generator.normal(size=(count, 3, 3)))
    matrices[:, :3, :3] = q * np.sign(np.linalg.det(q))[:, None, None]
    matrices[:, :3, 3] = generator.normal(size=(count, 3))
    return matrices.astype(np.float32)


@st.composite
def recipes(draw: Callable[..., Any]) -> Recipe:
    """Recipes that make sense: schedules in order, a camera with weight."""
    plain = draw(struct_of(inspect.type_info(Settings)))
    fixed: dict[str, Any] = {}
    if plain.render_size is not msgspec.UNSET:
        fixed["render_size"] = [(0.0, plain.render_size[0][1]), *sorted(plain.render_size[1:])]
    if plain.timestep_max is not msgspec.UNSET:
        fixed["timestep_max"] = sorted(plain.timestep_max)
        fixed["timestep_min"] = min(value for _, value in plain.timestep_max)
    if plain.guidance_interval is not msgspec.UNSET:
        fixed["guidance_interval"] = tuple(sorted(plain.guidance_interval))
    if plain.gradient_clamp not in (msgspec.UNSET, None):
        fixed["gradient_clamp"] = sorted(plain.gradient_clamp)
    if plain.regularizers is not msgspec.UNSET:
        fixed["regularizers"] = {name: sorted(schedule) for name, schedule in plain.regularizers.items()}
    orbit = draw(st.none() | st.just(Orbit()) | st.just(Orbit(elevation_deg=(-90.0, 90.0), weight=0.5)))
    count = draw(st.integers(0 if orbit else 1, 5))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    cameras = Cameras(
        camera_to_world=rotations(generator, count),
        lens=generator.uniform(0.1, 3.0, (count, 3)).astype(np.float32),
        weight=generator.uniform(0.1, 3.0, count).astype(np.float32),
        prompt_suffix=draw(st.lists(st.sampled_from(["", ", seen from above"]), min_size=count, max_size=count)),
        position_jitter=draw(st.floats(0.0, 1.0)),
    )
    words = st.text(st.characters(categories=("L", "N")), min_size=1, max_size=20)
    starts = st.builds(Start, job_id=st.from_regex(JOB_ID, fullmatch=True), prompt=words)
    images = st.builds(Image, generator=words, size=st.none() | st.integers(16, 2048))
    return Recipe(
        prompt=draw(words),
        negative_prompt=draw(st.none() | st.just("") | words),
        loss=draw(st.sampled_from(["sds", "nfsd"])),
        prior=draw(st.sampled_from(["exact", "owner/name"])),
        seed=draw(st.integers(0, 2**63 - 1)),
        rig=Rig(orbit=orbit, cameras=cameras if count else None),
        settings=msgspec.structs.replace(plain, **fixed),
        **draw(
            st.fixed_dictionaries({})
            | st.fixed_dictionaries({"start": starts})
            | st.fixed_dictionaries({"image": images})
        ),
        versions=draw(st.dictionaries(words, words, max_size=2)),
    )


@st.composite
def viewers(draw: Callable[..., Any]) -> messages.ViewerCamera:
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    lens = generator.uniform(0.1, 3.0, 3).astype(np.float32)
    return messages.ViewerCamera(camera_to_world=rotations(generator, 1)[0], lens=lens)


@functools.cache
def messages_of(kind: type) -> st.SearchStrategy[Any]:
    return struct_of(inspect.type_info(kind))


def comparable(message: msgspec.Struct) -> Any:
    def describe(value: Any) -> Any:
        return {"dtype": str(value.dtype), "shape": value.shape, "values": value.tolist()}

    return type(message), msgspec.to_builtins(message, enc_hook=describe)


CASES = [
    *((kind, decode_request) for kind in get_args(messages.AnyRequest)),
    *((kind, decode_reply) for kind in get_args(messages.AnyReply)),
    *((kind, decode_worker_event) for kind in get_args(messages.AnyWorkerEvent)),
]


@pytest.mark.parametrize(("kind", "decode"), CASES, ids=lambda value: getattr(value, "__name__", ""))
def test_every_message_comes_back_as_it_was_sent(kind: type, decode: Callable[..., Any]) -> None:
    @QUICK
    @given(messages_of(kind), IDS, st.none() | IDS)
    def check(message: Any, request_id: str, reply_to: str | None) -> None:
        frames = encode_message(message, request_id=request_id, reply_to=reply_to)
        envelope = decode([bytes(frame) for frame in frames])
        assert (envelope.request_id, envelope.reply_to) == (request_id, reply_to)
        assert (envelope.major, envelope.minor) == (messages.PROTOCOL_MAJOR, messages.PROTOCOL_MINOR)
        assert comparable(envelope.message) == comparable(message)
        unpacked = unpack_frames(pack_frames(frames))
        assert [bytes(frame) for frame in unpacked] == [bytes(frame) for frame in frames]
        assert comparable(decode(unpacked).message) == comparable(message)

    check()


def test_recipes_survive_json() -> None:
    @QUICK
    @given(recipes())
    def check(recipe: Recipe) -> None:
        check_recipe(recipe)
        read = recipe_from_json(recipe_to_json(recipe))
        assert comparable(read) == comparable(recipe)

    check()


def test_arrays_are_not_copied_on_either_way() -> None:
    image = np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3)
    frames = encode_message(messages.Preview(job_id="a", generation=1, step=1, image=image), request_id="r")
    assert np.shares_memory(np.frombuffer(frames[1], np.uint8), image)
    received = bytes(frames[1])
    decoded = decode_reply([frames[0], received]).message
    assert isinstance(decoded, messages.Preview)
    assert decoded.image is not None
    assert np.shares_memory(decoded.image, np.frombuffer(received, np.uint8))
    assert not decoded.image.flags.writeable


def test_arrays_of_any_layout_are_sent_in_row_order() -> None:
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    for layout in (image.transpose(1, 0, 2), image[:, ::-1], np.asfortranarray(image)):
        frames = encode_message(messages.Preview(job_id="a", generation=1, step=1, image=layout), request_id="r")
        decoded = decode_reply(frames).message
        assert isinstance(decoded, messages.Preview)
        np.testing.assert_array_equal(decoded.image, layout)


def test_big_endian_arrays_arrive_little_endian() -> None:
    chunk = messages.ArtifactChunk(offset=0, data=np.array([1, 2, 770], ">u2"))
    decoded = decode_reply(encode_message(chunk, request_id="r")).message
    assert isinstance(decoded, messages.ArtifactChunk)
    assert decoded.data.tolist() == [1, 2, 770]


def test_numpy_numbers_in_metrics_travel_as_plain_numbers() -> None:
    frames = encode_message(messages.Finished(metrics={"iou": np.float32(0.5), "fronts": np.int64(1)}), request_id="r")
    decoded = decode_worker_event(frames).message
    assert isinstance(decoded, messages.Finished)
    assert decoded.metrics == {"iou": 0.5, "fronts": 1}
    assert math.isclose(decoded.metrics["iou"], 0.5)
