"""Ten thousand mutated messages, and wild ones: a message or a CodecError of a listed code, and nothing else."""

from __future__ import annotations

import random
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from limbeck_protocol.codec import (
    CodecError,
    Envelope,
    decode_reply,
    decode_request,
    decode_worker_event,
    pack_frames,
    unpack_frames,
)

CODES = {"BAD_MESSAGE", "BAD_FRAME", "TOO_LARGE", "UNKNOWN_TYPE", "INVALID_FIELD", "PROTOCOL_UNSUPPORTED"}


def header(body: Any, **others: Any) -> bytes:
    whole = {"p": [1, 0], "id": "r1", "re": None, "b": body, "f": [], **others}
    return msgpack.packb({key: value for key, value in whole.items() if value is not ...})


CORPUS = sorted((Path(__file__).parent / "golden").glob("*/*.bin"))
DECODERS: tuple[Callable[[Any], Envelope[Any]], ...] = (decode_request, decode_reply, decode_worker_event)


def mutated(chance: random.Random, data: bytes, edits: int) -> bytes:
    """Change, cut, repeat or insert at `edits` random places."""
    changed = bytearray(data)
    for _ in range(edits):
        place = chance.randrange(len(changed) + 1)
        match chance.randrange(5):
            case 0 if place < len(changed):
                changed[place] = chance.randrange(256)
            case 1 if place < len(changed):
                changed[place] ^= 1 << chance.randrange(8)
            case 2:
                del changed[place : place + chance.randrange(1, 9)]
            case 3:
                changed[place:place] = chance.randbytes(chance.randrange(1, 9))
            case _:
                changed[place:place] = changed[place : place + chance.randrange(1, 33)]
    return bytes(changed)


WILD: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2**31, 2**63, 2**64 - 1, -(2**63), 0.0, -0.5, 1e308, float("nan"), float("inf")),
    *(
        "",
        "x" * 70,
        "a\nb",
        "\0",
        "../..",
        "submit",
        "welcome",
        [],
        {},
        [[]],
        {"array": 0},
        {"array": 99},
        {"t": "get"},
        [2, 0],
    ),
    *([0] * 5000, "y" * 17_000, b"", b"bytes", msgpack.ExtType(3, b"x"), [1, [2, [3]]], {"": {"": None}}),
)


def tree_mutated(chance: random.Random, value: Any) -> Any:
    """Replace, remove or add one thing somewhere in a decoded header, so that the flaw lies deep, not in the form."""
    if isinstance(value, dict) and value and chance.random() < 0.9:
        key = chance.choice(list(value))
        match chance.randrange(8):
            case 0:
                return {name: item for name, item in value.items() if name != key}
            case 1:
                return {**value, chance.choice(("t", "array", "new", "job_id", "b")): chance.choice(WILD)}
        return {**value, key: tree_mutated(chance, value[key])}
    if isinstance(value, list) and value and chance.random() < 0.9:
        place = chance.randrange(len(value))
        match chance.randrange(8):
            case 0:
                return value[:place] + value[place + 1 :]
            case 1:
                return value + value
        return [*value[:place], tree_mutated(chance, value[place]), *value[place + 1 :]]
    return chance.choice(WILD)


def test_ten_thousand_mutated_messages_raise_nothing_but_codec_errors() -> None:
    """Half of them mutated as bytes, half as trees; each shown to the decoder that knows its kind, or to another."""
    chance = random.Random(20261121)
    corpus = [[bytes(frame) for frame in unpack_frames(path.read_bytes())] for path in CORPUS]
    own = [DECODERS[("request", "reply", "worker").index(path.name.split("-")[0])] for path in CORPUS]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seen: dict[str | None, int] = {}
    for number in range(10_000):
        choice = chance.randrange(len(corpus))
        frames, edits = list(corpus[choice]), chance.choice((1, 2, 4, 16))
        if number % 2:
            tree = msgpack.unpackb(frames[0])
            for _ in range(min(edits, 2)):
                inside = isinstance(tree, dict) and "b" in tree and chance.random() < 0.8
                tree = {**tree, "b": tree_mutated(chance, tree["b"])} if inside else tree_mutated(chance, tree)
            frames[0] = msgpack.packb(tree)
        else:
            victim = chance.randrange(len(frames))
            frames[victim] = mutated(chance, frames[victim], edits)
        if chance.random() < 0.05:
            frames = chance.sample(frames, chance.randrange(len(frames) + 1))
        decode = own[choice] if chance.random() < 0.9 else chance.choice(DECODERS)
        code = code_of_frames(decode, frames)
        seen[code] = seen.get(code, 0) + 1
    assert set(seen) == CODES | {None}
    assert min(seen.values()) > 5, seen  # each refusal is really reached
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 10 * 1024


def code_of_frames(decode: Callable[[Any], Any], frames: list[bytes]) -> str | None:
    """The code under which frames are refused, or None if they are a message."""
    try:
        decode(frames)
    except CodecError as error:
        return str(error.code)
    return None


def code_of(decode: Callable[[Any], Any], blob: bytes) -> str | None:
    """The code under which a blob is refused, or None if it is a message."""
    try:
        decode(unpack_frames(blob))
    except CodecError as error:
        return str(error.code)
    return None


def test_mutated_blobs_raise_nothing_but_codec_errors() -> None:
    chance = random.Random(3)
    corpus = [path.read_bytes() for path in CORPUS]
    codes = {
        code_of(DECODERS[number % 3], mutated(chance, chance.choice(corpus), chance.choice((1, 4))))
        for number in range(3_000)
    }
    assert codes <= CODES | {None}
    assert len(codes) > 3


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=4))
def test_random_frames_raise_nothing_but_codec_errors(frames: list[bytes]) -> None:
    for decode in DECODERS:
        with pytest.raises(CodecError):
            decode(frames)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)
TAGS = st.sampled_from(
    ["hello", "submit", "get", "events", "preview", "artifact.read", "welcome", "error", "job", "w.failed"]
)
FIELDS = st.sampled_from(
    ["job_id", "recipe", "viewer", "wait_ms", "code", "message", "remedy", "limits", "image", "rig"]
)


@settings(max_examples=150, deadline=None)
@given(TAGS, st.dictionaries(FIELDS, PLAIN, max_size=5), PLAIN)
def test_well_formed_headers_with_wild_values_raise_nothing_but_codec_errors(tag: str, body: Any, f: Any) -> None:
    for decode in DECODERS:
        assert code_of(decode, pack_frames([header({**body, "t": tag}, f=f)])) in CODES | {None}
