"""Messages to frames and back: the only place where bytes become values.

A message is a list of frames. The first is the header, a msgpack map; the others are the arrays, raw, in the order of
the header's `f` list. Wherever a message holds an array, the header's body holds `{"array": index}`. `WIRE.md` has the
whole layout.

Rules of this file: nothing that arrives is trusted. Sizes are compared before anything is built from them, every limit
comes from `limits.py`, and whatever is wrong with the bytes ends as a `CodecError`: no other exception may leave here.
Array payloads are not copied: decoded arrays are read-only views of the frames they came in.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, get_args

import msgpack
import msgspec

from limbeck_protocol import messages
from limbeck_protocol.array_frames import ArrayReader, ArrayWriter
from limbeck_protocol.camera_checks import check_viewer_camera
from limbeck_protocol.errors import CodecError, ErrorCode, LimbeckError
from limbeck_protocol.frame_blob import Frame, flat_view, pack_frames, unpack_frames
from limbeck_protocol.limits import LIMITS, Limits
from limbeck_protocol.plain_data import PlainDataError, check_plain_data, without_unknown_fields
from limbeck_protocol.recipe import check_recipe

__all__ = [
    "AnyMessage",
    "CodecError",
    "Envelope",
    "Frame",
    "decode_reply",
    "decode_request",
    "decode_worker_event",
    "encode_message",
    "pack_frames",
    "unpack_frames",
]

AnyMessage = messages.Request | messages.Reply | messages.WorkerEvent
M = TypeVar("M", bound=AnyMessage)

_REQUESTS = {kind.__struct_config__.tag: kind for kind in get_args(messages.AnyRequest)}
_REPLIES = {kind.__struct_config__.tag: kind for kind in get_args(messages.AnyReply)}
_WORKER_EVENTS = {kind.__struct_config__.tag: kind for kind in get_args(messages.AnyWorkerEvent)}
_FROZEN_TAGS = frozenset({"hello", "welcome", "error"})
"""Understood under every protocol version, so that two releases can at least tell each other to upgrade."""
_HEADER_KEYS = frozenset({"p", "id", "re", "b", "f"})
_ID_PATTERN = re.compile(r"[A-Za-z0-9_-]{1,64}")
_WHERE_PATTERN = re.compile(r"^(?P<what>.*?)(?: - at `(?:key in )?\$\.?(?P<path>[^`]*)`)?$", re.DOTALL)
_UNKNOWN_FIELD_PATTERN = re.compile(r"unknown field `(?P<name>[^`]*)`")


@dataclass(frozen=True)
class Envelope(Generic[M]):
    """A decoded message and what its header said around it."""

    message: M
    request_id: str
    """The message's own id."""
    reply_to: str | None
    """The id of the request that it answers."""
    major: int
    minor: int


def encode_message(
    message: AnyMessage, *, request_id: str, reply_to: str | None = None, limits: Limits = LIMITS
) -> list[Frame]:
    """Return the frames of a message: header first, then one frame per array. Arrays are not copied where possible.

    Raises:
        CodecError: the message breaks a limit, or holds something that cannot travel (NaN, a float64 array).
    """
    arrays = ArrayWriter()
    try:
        body = msgspec.to_builtins(message, enc_hook=arrays.add)
        header = {
            "p": [messages.PROTOCOL_MAJOR, messages.PROTOCOL_MINOR],
            "id": request_id,
            "re": reply_to,
            "b": body,
            "f": arrays.descriptions,
        }
        check_plain_data(header, limits)
        packed = msgpack.packb(header, use_bin_type=True)
    except PlainDataError as error:
        raise CodecError(
            error.code, f"cannot send a {_tag(message)!r} message: {error}", request_id=request_id
        ) from error
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise CodecError(
            ErrorCode.INVALID_FIELD, f"cannot send a {_tag(message)!r} message: {error}", request_id=request_id
        ) from error
    frames: list[Frame] = [packed, *arrays.frames]
    try:
        _check_sizes([flat_view(frame) for frame in frames], limits, is_request=isinstance(message, messages.Request))
    except CodecError as error:
        raise CodecError(
            error.code, f"cannot send a {_tag(message)!r} message: {error.message}", request_id=request_id
        ) from error
    return frames


def decode_request(frames: Sequence[Frame], limits: Limits = LIMITS) -> Envelope[messages.Request]:
    """Read what a client sent; unknown fields are refused, recipes and viewers' cameras are checked.

    Raises:
        CodecError: for whatever is wrong with the frames.
    """
    envelope = _decode(frames, _REQUESTS, limits, is_request=True)
    try:
        if isinstance(envelope.message, messages.Submit):
            check_recipe(envelope.message.recipe)
        if isinstance(envelope.message, messages.GetPreview) and envelope.message.viewer is not None:
            check_viewer_camera(envelope.message.viewer.camera_to_world, envelope.message.viewer.lens)
    except LimbeckError as error:
        raise CodecError(
            ErrorCode(error.code), error.message, request_id=envelope.request_id, field=error.remedy.field
        ) from error
    return envelope


def decode_reply(frames: Sequence[Frame], limits: Limits = LIMITS) -> Envelope[messages.Reply]:
    """Read what a server answered; fields that this release does not know are left out.

    Raises:
        CodecError: for whatever is wrong with the frames.
    """
    return _decode(frames, _REPLIES, limits, is_request=False)


def decode_worker_event(frames: Sequence[Frame], limits: Limits = LIMITS) -> Envelope[messages.WorkerEvent]:
    """Read what a worker process told its server.

    Raises:
        CodecError: for whatever is wrong with the frames.
    """
    return _decode(frames, _WORKER_EVENTS, limits, is_request=False)


def _decode(frames: Sequence[Frame], kinds: dict[Any, type[Any]], limits: Limits, *, is_request: bool) -> Envelope[Any]:
    if not frames:
        raise CodecError(ErrorCode.BAD_MESSAGE, "expected a header frame; the message has no frames at all")
    views = [flat_view(frame) for frame in frames]
    header = _unpack_header(views[0], limits, is_request=is_request)
    try:
        return _decode_below_header(header, views, kinds, limits, is_request=is_request)
    except CodecError as error:
        flaw = error
    except PlainDataError as error:
        flaw = CodecError(error.code, str(error), field=error.field)
    except msgspec.ValidationError as error:
        flaw = _from_validation_error(error, header)
    flaw.request_id, flaw.reply_to = _id_or_none(header.get("id")), _id_or_none(header.get("re"))
    raise flaw


def _id_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) and _ID_PATTERN.fullmatch(value) else None


def _unpack_header(view: memoryview, limits: Limits, *, is_request: bool) -> dict[str, Any]:
    limit = limits.request_header_bytes if is_request else limits.reply_header_bytes
    if view.nbytes > limit:
        raise CodecError(ErrorCode.TOO_LARGE, f"expected a header of at most {limit} bytes; {view.nbytes} came")
    try:
        header = msgpack.unpackb(
            view,
            raw=False,
            strict_map_key=True,
            object_pairs_hook=_map_without_repeats,
            ext_hook=_refuse_extension,
            max_str_len=limits.text_bytes,
            max_bin_len=limits.text_bytes,
            max_ext_len=limits.text_bytes,
            max_array_len=limits.container_entries,
            max_map_len=limits.container_entries,
        )
    except (ValueError, TypeError, msgpack.exceptions.UnpackException, RecursionError) as error:
        code = ErrorCode.TOO_LARGE if "exceeds max" in str(error) else ErrorCode.BAD_MESSAGE
        raise CodecError(code, f"expected a msgpack map within the limits as header: {error}") from error
    if not isinstance(header, dict):
        raise CodecError(ErrorCode.BAD_MESSAGE, f"expected a map as header; a {type(header).__name__} came")
    return header


def _decode_below_header(
    header: dict[str, Any], views: list[memoryview], kinds: dict[Any, type[Any]], limits: Limits, *, is_request: bool
) -> Envelope[Any]:
    """Check everything in the order in which it becomes safe to look at it. The frames are sized before use."""
    check_plain_data(header, limits)
    version, own_id, reply_to, body = header.get("p"), header.get("id"), header.get("re"), header.get("b")
    if not (isinstance(version, list) and len(version) == 2 and all(type(n) is int and n >= 0 for n in version)):
        raise CodecError(ErrorCode.BAD_MESSAGE, "expected the protocol version as [major, minor] under 'p'")
    if not isinstance(own_id, str) or _id_or_none(own_id) is None:
        raise CodecError(ErrorCode.BAD_MESSAGE, "expected an id of 1-64 letters, digits, '-' or '_' under 'id'")
    if reply_to is not None and _id_or_none(reply_to) is None:
        raise CodecError(ErrorCode.BAD_MESSAGE, "expected the id of a request, or nothing, under 're'")
    if not isinstance(body, dict) or not isinstance(body.get("t"), str):
        raise CodecError(ErrorCode.BAD_MESSAGE, "expected a map with a text 't' under 'b'")
    if is_request and header.keys() - _HEADER_KEYS:
        raise CodecError(ErrorCode.BAD_MESSAGE, f"expected only {sorted(_HEADER_KEYS)} in the header")
    tag = body["t"]
    major, minor = version
    if major != messages.PROTOCOL_MAJOR and tag not in _FROZEN_TAGS:
        raise CodecError(
            ErrorCode.PROTOCOL_UNSUPPORTED,
            f"expected protocol {messages.PROTOCOL_MAJOR}; the message is of protocol {major}",
        )
    kind = kinds.get(tag)
    if kind is None:
        raise CodecError(ErrorCode.UNKNOWN_TYPE, f"expected one of {sorted(kinds)}; a {tag[:40]!r} came")
    _check_sizes(views, limits, is_request=is_request)
    reader = ArrayReader(header.get("f"), views[1:], limits)
    if not is_request:
        body = without_unknown_fields(body, kind)
    message = msgspec.convert(body, kind, strict=True, dec_hook=reader.read)
    if is_request:  # in a reply, fields of a later version that were left out may have held arrays
        reader.check_all_read()
    return Envelope(message=message, request_id=own_id, reply_to=reply_to, major=major, minor=minor)


def _check_sizes(views: Sequence[memoryview], limits: Limits, *, is_request: bool) -> None:
    header_limit = limits.request_header_bytes if is_request else limits.reply_header_bytes
    frame_limit = limits.request_frame_bytes if is_request else limits.reply_frame_bytes
    message_limit = limits.request_message_bytes if is_request else limits.reply_message_bytes
    count_limit = limits.request_payload_frames if is_request else limits.reply_payload_frames
    sizes = [view.nbytes for view in views]
    if sizes[0] > header_limit:
        raise CodecError(ErrorCode.TOO_LARGE, f"expected a header of at most {header_limit} bytes; it has {sizes[0]}")
    if len(sizes) - 1 > count_limit:
        raise CodecError(ErrorCode.TOO_LARGE, f"expected at most {count_limit} arrays; there are {len(sizes) - 1}")
    if max(sizes) > frame_limit:
        raise CodecError(ErrorCode.TOO_LARGE, f"expected frames of at most {frame_limit} bytes; one has {max(sizes)}")
    if sum(sizes) > message_limit:
        raise CodecError(ErrorCode.TOO_LARGE, f"expected at most {message_limit} bytes in all; there are {sum(sizes)}")


def _map_without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a map names the same key twice")
    return result


def _refuse_extension(code: int, data: bytes) -> Any:
    raise ValueError(f"msgpack extension types are not used here; type {code} came")


def _from_validation_error(error: msgspec.ValidationError, header: dict[str, Any]) -> CodecError:
    """Turn msgspec's "Expected `int` - at `$.recipe.seed`" into a sentence and the dotted name of the field."""
    found = _WHERE_PATTERN.match(str(error))
    what, path = (found["what"], found["path"] or "") if found else (str(error), "")
    unknown = _UNKNOWN_FIELD_PATTERN.search(what)
    if unknown:
        path = f"{path}.{unknown['name']}" if path else unknown["name"]
    tag = header["b"]["t"]
    sentence = f"{tag!r} message, field {path!r}: {what}" if path else f"{tag!r} message: {what}"
    return CodecError(ErrorCode.INVALID_FIELD, sentence, field=path[:200] or None)


def _tag(message: AnyMessage) -> Any:
    return message.__struct_config__.tag
