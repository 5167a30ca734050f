"""Arrays beside a message: which kinds travel, how they are described, and the checks before one is built.

Rules of this file: a description is believed only once the frame's own length agrees with it, computed with Python's
integers, which do not overflow. Decoded arrays are read-only views of their frames.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from limbeck_protocol.errors import ErrorCode
from limbeck_protocol.limits import Limits
from limbeck_protocol.plain_data import PlainDataError
from limbeck_protocol.recipe import Array

DTYPES: dict[str, np.dtype[Any]] = {name: np.dtype(f"<{name}") for name in ("u1", "u2", "u4", "i4", "f2", "f4")}
"""Every kind of number that travels in an array: unsigned and signed integers, floats; little-endian."""

REFERENCE_KEY = "array"
"""`{"array": 3}` in a body stands for the fourth array frame."""


class ArrayWriter:
    """Collects a message's arrays while msgspec walks it.

    `frames` are the arrays' bytes; `descriptions` the list that goes into the header.
    """

    def __init__(self) -> None:
        self.frames: list[bytes | memoryview] = []
        self.descriptions: list[dict[str, Any]] = []

    def add(self, value: Any) -> Any:
        """Return what stands in the body instead of `value` (an `enc_hook` of msgspec).

        Raises:
            TypeError: `value` is neither an array of a kind that travels nor a numpy number.
        """
        if isinstance(value, np.generic):
            return value.item()
        if not isinstance(value, np.ndarray):
            raise TypeError(f"a {type(value).__name__} cannot travel")
        name = f"{value.dtype.kind}{value.dtype.itemsize}"
        if name not in DTYPES:
            raise TypeError(f"a {value.dtype} array cannot travel; convert it to one of {', '.join(DTYPES)} first")
        flat = np.ascontiguousarray(value, dtype=DTYPES[name]).reshape(-1)
        self.frames.append(flat.view(np.uint8).data if flat.size else b"")
        self.descriptions.append({"dtype": name, "shape": list(value.shape), "nbytes": value.nbytes})
        return {REFERENCE_KEY: len(self.frames) - 1}


class ArrayReader:
    """Hands out the arrays of one message, each exactly once.

    Args:
        descriptions: the header's `f`, still untrusted.
        frames: the payload frames.
        limits: the limits in force.

    Raises:
        PlainDataError: BAD_FRAME when descriptions and frames do not agree.
    """

    def __init__(self, descriptions: Any, frames: list[memoryview], limits: Limits) -> None:
        if not isinstance(descriptions, list) or len(descriptions) != len(frames):
            raise PlainDataError(
                ErrorCode.BAD_FRAME, f"expected descriptions of {len(frames)} arrays in a list under 'f'"
            )
        self._arrays: list[Array | None] = [
            _build_array(description, frame, index, limits)
            for index, (description, frame) in enumerate(zip(descriptions, frames, strict=True))
        ]

    def read(self, kind: type, value: Any) -> Any:
        """Return the array that `value` refers to (a `dec_hook` of msgspec).

        Raises:
            ValueError: `value` is no reference to an array that is still there, or the array holds NaN or infinity.
            TypeError: another type than an array was asked for.
        """
        if kind is not np.ndarray:
            raise TypeError(f"a {kind.__name__} does not travel")
        index = value.get(REFERENCE_KEY) if isinstance(value, dict) and len(value) == 1 else None
        if type(index) is not int or not 0 <= index < len(self._arrays):
            raise ValueError(f"Expected a reference to one of the message's {len(self._arrays)} arrays")
        array = self._arrays[index]
        if array is None:
            raise ValueError(f"Expected each array to be used once; array {index} is used again")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError("Expected finite numbers; the array holds NaN or infinity")
        self._arrays[index] = None
        return array

    def check_all_read(self) -> None:
        """Raise `PlainDataError` (BAD_FRAME) if the message did not use all arrays that came with it."""
        left = [index for index, array in enumerate(self._arrays) if array is not None]
        if left:
            raise PlainDataError(
                ErrorCode.BAD_FRAME, f"expected every array to be used; the message leaves {left[:16]}"
            )


def _build_array(description: Any, frame: memoryview, index: int, limits: Limits) -> Array:
    def bad(what: str) -> PlainDataError:
        return PlainDataError(ErrorCode.BAD_FRAME, f"array {index}: {what}")

    if not isinstance(description, dict) or description.keys() != {"dtype", "shape", "nbytes"}:
        raise bad("expected a map of dtype, shape and nbytes")
    name, shape, nbytes = description["dtype"], description["shape"], description["nbytes"]
    if not isinstance(name, str) or name not in DTYPES:
        raise bad(f"expected a dtype out of {', '.join(DTYPES)}")
    if not isinstance(shape, list) or len(shape) > limits.array_dimensions:
        raise bad(f"expected a shape of at most {limits.array_dimensions} numbers")
    if not all(type(n) is int and 0 <= n <= limits.reply_frame_bytes for n in shape):
        raise bad("expected a shape of small whole numbers")
    expected = math.prod(shape) * DTYPES[name].itemsize
    if type(nbytes) is not int or nbytes != expected or frame.nbytes != expected:
        raise bad(f"its shape asks for {expected} bytes; {frame.nbytes} came, announced as {str(nbytes)[:24]}")
    if expected == 0:
        return np.empty(shape, DTYPES[name])
    array = np.frombuffer(frame, DTYPES[name]).reshape(shape)
    array.flags.writeable = False
    return array
