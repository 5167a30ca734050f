"""Checks on decoded msgpack before it is given types: depth, sizes, finite numbers; and leaving out unknown fields.

msgspec refuses NaN only where a float has a range, so every number is looked at here, whatever its field.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import msgspec.inspect

from limbeck_protocol.errors import ErrorCode
from limbeck_protocol.limits import Limits


class PlainDataError(Exception):
    """What was wrong, as an error code, a sentence and, where there is one, a dotted field name."""

    def __init__(self, code: ErrorCode, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.field = field


def check_plain_data(value: Any, limits: Limits) -> None:
    """Walk maps and lists and see that everything in them may travel.

    Raises:
        PlainDataError: nested too deep, a container or text too long, a key that is no text, a number that is not
            finite or beyond 64 bits, or any other type.
    """
    _check(value, 1, (), limits)


def _check(value: Any, depth: int, path: tuple[str, ...], limits: Limits) -> None:
    if isinstance(value, (dict, list, tuple)):
        if depth > limits.nesting_depth:
            raise PlainDataError(ErrorCode.BAD_MESSAGE, f"nested deeper than {limits.nesting_depth}")
        if len(value) > limits.container_entries:
            sentence = f"more than {limits.container_entries} entries in one map or list"
            raise PlainDataError(ErrorCode.TOO_LARGE, sentence, _field(path))
        if isinstance(value, dict):
            for key, item in value.items():
                if not isinstance(key, str):
                    raise PlainDataError(ErrorCode.BAD_MESSAGE, "a map has a key that is no text")
                _check_text(key, path, limits)
                _check(item, depth + 1, (*path, key), limits)
        else:
            for item in value:
                _check(item, depth + 1, path, limits)
    elif isinstance(value, str):
        _check_text(value, path, limits)
    elif isinstance(value, float):
        if not math.isfinite(value):
            sentence = f"expected a finite number for {_field(path) or 'a header field'}; {value} came"
            raise PlainDataError(ErrorCode.INVALID_FIELD, sentence, _field(path))
    elif value is not None and not isinstance(value, (bool, int)):
        raise PlainDataError(ErrorCode.BAD_MESSAGE, f"a {type(value).__name__} cannot travel")
    elif isinstance(value, int) and not -(2**63) <= value < 2**64:
        raise PlainDataError(ErrorCode.INVALID_FIELD, f"a number beyond 64 bits: {value:.3g}", _field(path))


def _check_text(text: str, path: tuple[str, ...], limits: Limits) -> None:
    # A character is at most four bytes, so short texts need not be encoded to be measured.
    if len(text) * 4 > limits.text_bytes and len(text.encode("utf-8", "surrogatepass")) > limits.text_bytes:
        raise PlainDataError(ErrorCode.TOO_LARGE, f"a text longer than {limits.text_bytes} bytes", _field(path))


def _field(path: tuple[str, ...]) -> str | None:
    """Return the dotted name below the header's body, or None for the header's own fields."""
    return ".".join(path[1:])[:200] if len(path) > 1 and path[0] == "b" else None


def without_unknown_fields(value: dict[str, Any], kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Return a copy of `value`, a future `kind`, without fields that `kind` and the structs in it do not have.

    Clients read replies through this, so that a newer server can add a field anywhere, inside a recipe too.
    """
    pruned = _prune(value, _type_of(kind))
    return pruned if isinstance(pruned, dict) else value


@functools.cache
def _type_of(kind: type[msgspec.Struct]) -> msgspec.inspect.Type:
    return msgspec.inspect.type_info(kind)


def _prune(value: Any, kind: msgspec.inspect.Type) -> Any:
    """Follow the types along the data; whatever does not fit stays as it is, for the decoder to refuse."""
    if isinstance(kind, msgspec.inspect.UnionType):
        kind = next((option for option in kind.types if _holds(option, value)), kind)
    if isinstance(kind, msgspec.inspect.Metadata):
        kind = kind.type
    if isinstance(kind, msgspec.inspect.StructType) and isinstance(value, dict):
        fields = {field.encode_name: field.type for field in kind.fields}
        kept = {name: _prune(item, fields[name]) for name, item in value.items() if name in fields}
        return {kind.tag_field: value[kind.tag_field], **kept} if kind.tag_field in value else kept
    if isinstance(kind, msgspec.inspect.DictType) and isinstance(value, dict):
        return {key: _prune(item, kind.value_type) for key, item in value.items()}
    if isinstance(kind, msgspec.inspect.ListType) and isinstance(value, list):
        return [_prune(item, kind.item_type) for item in value]
    return value


def _holds(kind: msgspec.inspect.Type, value: Any) -> bool:
    if isinstance(value, dict):
        return isinstance(kind, (msgspec.inspect.StructType, msgspec.inspect.DictType))
    return isinstance(value, list) and isinstance(kind, msgspec.inspect.ListType)
