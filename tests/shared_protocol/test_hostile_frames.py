"""Whatever bytes arrive, the codec answers with a message or a CodecError of a listed code, and with nothing else."""

from __future__ import annotations

from typing import Any

import msgpack
import msgspec
import numpy as np
import pytest
from limbeck_protocol import messages
from limbeck_protocol.codec import (
    CodecError,
    decode_reply,
    decode_request,
    encode_message,
    pack_frames,
    unpack_frames,
)
from limbeck_protocol.errors import ErrorCode
from limbeck_protocol.limits import LIMITS
from limbeck_protocol.recipe import Cameras, Recipe, Rig

JOB = "abcdefgh"


def header(body: Any, **others: Any) -> bytes:
    whole = {"p": [1, 0], "id": "r1", "re": None, "b": body, "f": [], **others}
    return msgpack.packb({key: value for key, value in whole.items() if value is not ...})


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def submit(**recipe: Any) -> bytes:
    return header({"t": "submit", "job_id": JOB, "recipe": {"prompt": "a duck", **recipe}})


def viewer(descriptions: Any, *frames: bytes, matrix: Any = None, lens: Any = None) -> list[bytes]:
    """A preview request with a viewer's camera, whose arrays are described and sent as told."""
    camera = {"camera_to_world": matrix or {"array": 0}, "lens": lens or {"array": 1}}
    return [header({"t": "preview", "job_id": JOB, "viewer": camera}, f=descriptions), *frames]


MATRIX = {"dtype": "f4", "shape": [4, 4], "nbytes": 64}
LENS = {"dtype": "f4", "shape": [3], "nbytes": 12}
EYE = np.eye(4, dtype="<f4").tobytes()
GOOD_LENS = np.array([1, 0, 0], "<f4").tobytes()
NAN_EYE = (np.eye(4, dtype="<f4") * np.nan).tobytes()

STATUS = {"t": "status"}
REQUESTS: dict[str, tuple[list[bytes], str]] = {
    "no frames": ([], "BAD_MESSAGE"),
    "empty header": ([b""], "BAD_MESSAGE"),
    "garbage": ([b"\xc1" * 40], "BAD_MESSAGE"),
    "text instead of a map": ([msgpack.packb("hello")], "BAD_MESSAGE"),
    "number instead of a map": ([b"\x01"], "BAD_MESSAGE"),
    "map cut short": ([header(STATUS)[:-3]], "BAD_MESSAGE"),
    "bytes after the map": ([header(STATUS) + b"\x00"], "BAD_MESSAGE"),
    "key that is a number": ([msgpack.packb({1: 2})], "BAD_MESSAGE"),
    "key that is bytes": ([msgpack.packb({b"p": 2})], "BAD_MESSAGE"),
    "the same key twice": ([b"\x82\xa1a\x01\xa1a\x02"], "BAD_MESSAGE"),
    "broken UTF-8": ([b"\x81\xa1a\xa2\xff\xfe"], "BAD_MESSAGE"),
    "extension type": ([header(STATUS, re=msgpack.ExtType(5, b"x"))], "BAD_MESSAGE"),
    "empty extension type": ([header(STATUS, re=msgpack.ExtType(5, b""))], "BAD_MESSAGE"),
    "timestamp": ([header(STATUS, re=msgpack.Timestamp(1, 0))], "BAD_MESSAGE"),
    "bytes in the body": ([header({"t": "status", "x": b"abc"})], "BAD_MESSAGE"),
    "empty bytes in the body": ([header({"t": "status", "x": b""})], "BAD_MESSAGE"),
    "header over the limit": ([header(STATUS) + bytes(LIMITS.request_header_bytes)], "TOO_LARGE"),
    "array that claims 2^32 entries": ([b"\xdd\xff\xff\xff\xff"], "TOO_LARGE"),
    "map that claims 2^32 entries": ([b"\xdf\xff\xff\xff\xff"], "TOO_LARGE"),
    "text that claims 2^32 bytes": ([b"\xdb\xff\xff\xff\xff"], "BAD_MESSAGE"),
    "nested 60,000 deep": ([b"\x91" * 60_000], "BAD_MESSAGE"),
    "nested 1,000 deep": ([header(nested(1000))], "BAD_MESSAGE"),
    "nested 17 deep": ([header({"t": "status", "x": nested(15)})], "BAD_MESSAGE"),
    "5,000 entries": ([header({"t": "status", "x": [1] * 5000})], "TOO_LARGE"),
    "text of 20,000 bytes": ([header({"t": "status", "x": "x" * 20_000})], "TOO_LARGE"),
    "no version": ([header(STATUS, p=...)], "BAD_MESSAGE"),
    "version as text": ([header(STATUS, p="1.0")], "BAD_MESSAGE"),
    "version with a truth value": ([header(STATUS, p=[True, 0])], "BAD_MESSAGE"),
    "negative version": ([header(STATUS, p=[-1, 0])], "BAD_MESSAGE"),
    "alien version": ([header(STATUS, p=[7, 0])], "PROTOCOL_UNSUPPORTED"),
    "no id": ([header(STATUS, id=...)], "BAD_MESSAGE"),
    "id with a newline": ([header(STATUS, id="abc\n")], "BAD_MESSAGE"),
    "id of 65 letters": ([header(STATUS, id="x" * 65)], "BAD_MESSAGE"),
    "answered id that is a number": ([header(STATUS, re=3)], "BAD_MESSAGE"),
    "unknown header key": ([header(STATUS, z=1)], "BAD_MESSAGE"),
    "no body": ([header(...)], "BAD_MESSAGE"),
    "body without a type": ([header({"x": 1})], "BAD_MESSAGE"),
    "type that is a list": ([header({"t": ["status"]})], "BAD_MESSAGE"),
    "unknown type": ([header({"t": "format.disk"})], "UNKNOWN_TYPE"),
    "a reply as a request": ([header({"t": "welcome"})], "UNKNOWN_TYPE"),
    "a worker's event as a request": ([header({"t": "w.notice", "text": "x"})], "UNKNOWN_TYPE"),
    "missing field": ([header({"t": "get"})], "INVALID_FIELD"),
    "unknown field": ([header({"t": "status", "x": 1})], "INVALID_FIELD"),
    "unknown field in a recipe": ([submit(colour="red")], "INVALID_FIELD"),
    "unknown field in settings": ([submit(settings={"stepz": 1})], "INVALID_FIELD"),
    "job id with a newline": ([header({"t": "get", "job_id": JOB + "\n"})], "INVALID_FIELD"),
    "job id that is a path": ([header({"t": "get", "job_id": "../../etc/passwd"})], "INVALID_FIELD"),
    "artifact that is a path": (
        [header({"t": "artifact.stat", "job_id": JOB, "name": "../store.sqlite"})],
        "INVALID_FIELD",
    ),
    "limit as text": ([header({"t": "list", "limit": "5"})], "INVALID_FIELD"),
    "limit as a truth value": ([header({"t": "list", "limit": True})], "INVALID_FIELD"),
    "limit as a float": ([header({"t": "list", "limit": 1.5})], "INVALID_FIELD"),
    "limit of 0": ([header({"t": "list", "limit": 0})], "INVALID_FIELD"),
    "wait of an hour": ([header({"t": "events", "wait_ms": 3_600_000})], "INVALID_FIELD"),
    "chunk of 2 MiB": (
        [header({"t": "artifact.read", "job_id": JOB, "name": "m", "offset": 0, "length": 1 << 21})],
        "INVALID_FIELD",
    ),
    "negative offset": (
        [header({"t": "artifact.read", "job_id": JOB, "name": "m", "offset": -1, "length": 1})],
        "INVALID_FIELD",
    ),
    "steps of 0": ([submit(settings={"steps": 0})], "INVALID_FIELD"),
    "NaN with a range": ([submit(settings={"guidance_scale": float("nan")})], "INVALID_FIELD"),
    "NaN without a range": ([submit(settings={"loss_parameters": {"threshold": float("nan")}})], "INVALID_FIELD"),
    "infinity": ([submit(settings={"loss_parameters": {"threshold": float("inf")}})], "INVALID_FIELD"),
    "choice of 41 letters": ([submit(settings={"loss_parameters": {"sampler": "x" * 41}})], "INVALID_FIELD"),
    "choice that is a truth": ([submit(settings={"loss_parameters": {"sampler": True}})], "INVALID_FIELD"),
    "choice that is nothing": ([submit(settings={"loss_parameters": {"sampler": None}})], "INVALID_FIELD"),
    "empty prompt": ([submit(prompt="")], "INVALID_FIELD"),
    "blank prompt": ([submit(prompt=" \t ")], "INVALID_FIELD"),
    "prompt of 5,000 characters": ([submit(prompt="a" * 5000)], "INVALID_FIELD"),
    "prompt with a control character": ([submit(prompt="a\x1b[2Jduck")], "INVALID_FIELD"),
    "rig without cameras": ([submit(rig={"orbit": None})], "INVALID_FIELD"),
    "array announced, not sent": (viewer([MATRIX, LENS], EYE), "BAD_FRAME"),
    "array sent, not announced": (viewer([MATRIX], EYE, GOOD_LENS), "BAD_FRAME"),
    "descriptions that are no list": (viewer({"a": 1}, EYE), "BAD_FRAME"),
    "description that is a number": (viewer([1, LENS], EYE, GOOD_LENS), "BAD_FRAME"),
    "dtype of Python objects": (viewer([{**MATRIX, "dtype": "O"}, LENS], EYE, GOOD_LENS), "BAD_FRAME"),
    "dtype float64": (viewer([{**MATRIX, "dtype": "f8"}, LENS], EYE, GOOD_LENS), "BAD_FRAME"),
    "dtype that is a list": (viewer([{**MATRIX, "dtype": ["f4"]}, LENS], EYE, GOOD_LENS), "BAD_FRAME"),
    "shape larger than the frame": (viewer([{**MATRIX, "shape": [4, 5]}, LENS], EYE, GOOD_LENS), "BAD_FRAME"),
    "shape that overflows 64 bits": (
        viewer([{**MATRIX, "shape": [2**22, 2**22, 2**22, 4]}, LENS], EYE, GOOD_LENS),
        "BAD_FRAME",
    ),
    "shape with 2^63": (viewer([{**MATRIX, "shape": [2**63, 2]}, LENS], EYE, GOOD_LENS), "BAD_FRAME"),
    "negative shape": (viewer([{**MATRIX, "shape": [-4, -4]}, LENS], EYE, GOOD_LENS), "BAD_FRAME"),
    "shape of truth values": (viewer([{**MATRIX, "shape": [True, True]}, LENS], EYE, GOOD_LENS), "BAD_FRAME"),
    "shape of five dimensions": (viewer([{**MATRIX, "shape": [4, 4, 1, 1, 1]}, LENS], EYE, GOOD_LENS), "BAD_FRAME"),
    "size that is wrong": (viewer([{**MATRIX, "nbytes": 60}, LENS], EYE, GOOD_LENS), "BAD_FRAME"),
    "description with another key": (viewer([{**MATRIX, "order": "F"}, LENS], EYE, GOOD_LENS), "BAD_FRAME"),
    "reference beyond the arrays": (viewer([MATRIX], EYE, lens={"array": 7}), "INVALID_FIELD"),
    "negative reference": (viewer([MATRIX], EYE, lens={"array": -1}), "INVALID_FIELD"),
    "one array used twice": (viewer([MATRIX], EYE, lens={"array": 0}), "INVALID_FIELD"),
    "array not used": ([header(STATUS, f=[LENS]), GOOD_LENS], "BAD_FRAME"),
    "NaN in a matrix": (viewer([MATRIX, LENS], NAN_EYE, GOOD_LENS), "INVALID_FIELD"),
    "matrix of the wrong shape": (viewer([{**MATRIX, "shape": [16]}, LENS], EYE, GOOD_LENS), "INVALID_FIELD"),
    "17 arrays": ([header(STATUS, f=[LENS] * 17), *[GOOD_LENS] * 17], "TOO_LARGE"),
    "frame over the limit": (viewer([MATRIX, LENS], bytes(LIMITS.request_frame_bytes + 1), GOOD_LENS), "TOO_LARGE"),
    "200,000 empty frames": ([header(STATUS), *[b""] * 200_000], "TOO_LARGE"),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_flawed_requests_are_refused_with_their_code(name: str) -> None:
    frames, code = REQUESTS[name]
    with pytest.raises(CodecError) as caught:
        decode_request(frames)
    assert caught.value.code == code
    assert caught.value.message
    assert len(caught.value.message) <= 400


def test_a_refusal_carries_the_request_id_when_it_could_be_read() -> None:
    for name in ("unknown type", "steps of 0", "alien version", "NaN in a matrix", "17 arrays", "bytes in the body"):
        with pytest.raises(CodecError) as caught:
            decode_request(REQUESTS[name][0])
        assert caught.value.request_id == "r1", name
    with pytest.raises(CodecError) as caught:
        decode_request([b"\xc1"])
    assert caught.value.request_id is None


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("steps of 0", "recipe.settings.steps"),
        ("unknown field in settings", "recipe.settings.stepz"),
        ("unknown field", "x"),
        ("NaN without a range", "recipe.settings.loss_parameters.threshold"),
        ("blank prompt", "recipe.prompt"),
        ("rig without cameras", "recipe.rig"),
        ("NaN in a matrix", "viewer.camera_to_world"),
    ],
)
def test_a_refusal_names_the_field_to_correct(name: str, field: str) -> None:
    with pytest.raises(CodecError) as caught:
        decode_request(REQUESTS[name][0])
    assert caught.value.field == field
    assert caught.value.remedy.field == field


def test_hello_is_understood_whatever_its_version() -> None:
    body = {"t": "hello", "major_min": 7, "major_max": 9, "client": "from the future", "colour": 1}
    envelope = decode_request([header(body, p=[9, 3])])
    assert isinstance(envelope.message, messages.Hello)
    assert (envelope.major, envelope.minor) == (9, 3)


def test_welcome_and_error_are_understood_whatever_their_version() -> None:
    body = {
        "t": "error",
        "code": "NEW_CODE",
        "message": "No.",
        "remedy": {"action": "dance", "label": "Dance."},
        "x": 1,
    }
    reply = decode_reply([header(body, p=[9, 3], re="r0")]).message
    assert isinstance(reply, messages.ErrorReply)
    assert reply.remedy is not None
    assert (reply.code, reply.remedy.action) == ("NEW_CODE", "dance")


def test_clients_leave_out_fields_they_do_not_know_wherever_they_stand() -> None:
    job = messages.JobInfo(job_id=JOB, state=messages.JobState.QUEUED, recipe=Recipe(prompt="a duck"), created=1.0)
    frames = encode_message(messages.JobList(jobs=[job]), request_id="r", reply_to="q")
    whole = msgpack.unpackb(frames[0])
    recipe = whole["b"]["jobs"][0]["recipe"]
    for place in (whole, whole["b"], whole["b"]["jobs"][0], recipe, recipe["settings"], recipe["rig"]["orbit"]):
        place["from_the_future"] = [1, {"a": 2}]
    reply = decode_reply([msgpack.packb(whole)]).message
    assert reply == messages.JobList(jobs=[job])
    with pytest.raises(CodecError):
        decode_request([msgpack.packb(whole)])


def test_clients_leave_out_the_arrays_of_fields_they_do_not_know() -> None:
    picture = messages.Preview(job_id=JOB, generation=1, step=1, image=np.ones((2, 2, 3), np.uint8))
    eye = np.eye(4, dtype=np.float32)
    view = messages.View(camera_to_world=eye, lens=eye[0, :3])
    frames = encode_message(msgspec.structs.replace(picture, view=view), request_id="r", reply_to="q")
    whole = msgpack.unpackb(frames[0])
    whole["b"]["from_the_future"] = whole["b"].pop("view")
    reply = decode_reply([msgpack.packb(whole), *frames[1:]]).message
    assert isinstance(reply, messages.Preview)
    assert reply.view is None
    assert np.array_equal(reply.image, picture.image)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (messages.Finished(metrics={"iou": float("nan")}), "INVALID_FIELD"),
        (messages.Finished(metrics={"a": 2**70}), "INVALID_FIELD"),
        (messages.Finished(metrics={"a": object()}), "INVALID_FIELD"),
        (messages.Finished(metrics={"a": nested(20)}), "BAD_MESSAGE"),
        (messages.Finished(metrics={1: 2}), "BAD_MESSAGE"),  # type: ignore[dict-item]
        (messages.Notice(text="\ud800"), "INVALID_FIELD"),
        (messages.Notice(text="x" * 20_000), "TOO_LARGE"),
        (messages.PreviewReady(step=1, image=np.zeros((2, 2, 3))), "INVALID_FIELD"),
        (messages.PreviewReady(step=1, image=np.zeros((2000, 2000, 3), np.uint8)), "TOO_LARGE"),
        (messages.GetPreview(job_id=JOB, viewer="me"), None),  # type: ignore[arg-type]
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_cannot_travel_is_refused_where_it_is_sent(message: Any, code: str | None) -> None:
    if code is None:  # a wrong type is the receiver's to refuse: constructors check nothing
        frames = encode_message(message, request_id="r")
        with pytest.raises(CodecError):
            decode_request(frames)
        return
    with pytest.raises(CodecError) as caught:
        encode_message(message, request_id="r")
    assert caught.value.code == code


def test_five_hundred_and_twelve_cameras_fit_into_one_request() -> None:
    count = LIMITS.cameras
    cameras = Cameras(
        camera_to_world=np.tile(np.eye(4, dtype=np.float32), (count, 1, 1)),
        lens=np.ones((count, 3), np.float32),
        weight=np.ones(count, np.float32),
        prompt_suffix=[", seen from the side"] * count,
    )
    submit_all = messages.Submit(job_id=JOB, recipe=Recipe(prompt="a duck" * 300, rig=Rig(cameras=cameras)))
    decoded = decode_request(encode_message(submit_all, request_id="r")).message
    assert isinstance(decoded, messages.Submit)
    assert decoded.recipe.rig.cameras is not None
    assert decoded.recipe.rig.cameras.camera_to_world.shape == (512, 4, 4)


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        b"LBK1",
        b"PK\x03\x04" + bytes(8),
        b"LBK1" + (0).to_bytes(4, "little"),
        b"LBK1" + (2**32 - 1).to_bytes(4, "little") + bytes(64),
        b"LBK1" + (2).to_bytes(4, "little") + bytes(4),
        b"LBK1" + (1).to_bytes(4, "little") + (99).to_bytes(4, "little") + bytes(4),
        pack_frames([b"abc"]) + b"\0",
        pack_frames([b"abc"])[:-1],
    ],
)
def test_bytes_that_are_no_blob_are_refused(blob: bytes) -> None:
    with pytest.raises(CodecError) as caught:
        unpack_frames(blob)
    assert caught.value.code in {ErrorCode.BAD_FRAME, ErrorCode.TOO_LARGE}
