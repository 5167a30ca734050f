"""Fields as files: tensors and settings in one safetensors file, bit for bit; reading one runs nothing.

The tensors are the field's parameters under their own names. The file's metadata holds, as texts, what it is
(`limbeck_field`, with the version of this layout) and the field's settings as JSON.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from limbeck_server.scene.field import Field, FieldSettings, HashGridField, build_field

VERSION = "1"
_VERSION_KEY, _SETTINGS_KEY, _LEVELS_KEY = "limbeck_field", "settings", "active_levels"


class FieldFileError(ValueError):
    """A file holds no field that could be used. The message is a sentence that says what it holds instead."""


def save_field(field: Field, path: Path) -> None:
    """Write a field to `path`, whole or not at all; the same field gives the same bytes."""
    metadata = {_VERSION_KEY: VERSION, _SETTINGS_KEY: json.dumps(dataclasses.asdict(field.settings), sort_keys=True)}
    if isinstance(field, HashGridField):
        metadata[_LEVELS_KEY] = str(field.grid.active_levels)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in field.state_dict().items()}
    part = path.with_name(path.name + ".part")
    try:
        save_file(tensors, part, metadata)
        _put_in_order(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _put_in_order(path: Path) -> None:
    """Put a safetensors file's metadata into alphabetical order: the library writes it in any."""
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        assert len(text) <= length, "only the order has changed"
        file.seek(8)
        file.write(text.ljust(length))


def load_field(path: Path, device: torch.device | str = "cpu") -> Field:
    """Return the field that `save_field` wrote, on `device`; its densities and colours are the same to the last bit.

    Raises:
        FileNotFoundError: there is no such file.
        FieldFileError: it is damaged, of a newer release, or no field at all.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no field file {path.name}")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            settings = _settings_from(metadata, path.name)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
    except (SafetensorError, UnicodeDecodeError) as error:
        raise FieldFileError(f"{path.name} is no safetensors file, or a damaged one: {error}") from error
    grid = tensors.get("grid.values")
    if settings.kind == "voxels" and (grid is None or grid.shape[:3] != (settings.resolution,) * 3):
        # Said before anything of the size that the settings claim is built.
        raise FieldFileError(f"{path.name} is damaged: its grid is not of the resolution {settings.resolution}")
    try:
        field = build_field(settings, "cpu", torch.Generator())
        field.load_state_dict(tensors)
        if isinstance(field, HashGridField):
            field.set_active_levels(int(metadata[_LEVELS_KEY]))
    except (RuntimeError, TypeError, ValueError, KeyError) as error:
        raise FieldFileError(f"{path.name} is damaged: its tensors are not those of its settings: {error}") from error
    if not all(bool(tensor.isfinite().all()) for tensor in field.parameters()):
        raise FieldFileError(f"{path.name} is damaged: it holds numbers that are not finite")
    return field.to(device)


def _settings_from(metadata: dict[str, str], name: str) -> FieldSettings:
    version = metadata.get(_VERSION_KEY)
    if version is None:
        raise FieldFileError(f"{name} is a safetensors file of something else: expected a field saved by Limbeck")
    if version != VERSION:
        raise FieldFileError(
            f"{name} has the layout {version[:20]!r} and this release reads {VERSION}: update Limbeck's server"
        )
    known = {field.name: field for field in dataclasses.fields(FieldSettings)}
    try:
        values: dict[str, Any] = json.loads(metadata[_SETTINGS_KEY])
        wrong = [key for key, value in values.items() if not _fits(value, str(known[key].type))]
    except (KeyError, ValueError, AttributeError) as error:
        raise FieldFileError(f"{name} is damaged: its settings cannot be read ({error})") from error
    if wrong:
        raise FieldFileError(f"{name} is damaged: its settings {', '.join(wrong)} are of the wrong kind")
    return FieldSettings(**values)


def _fits(value: Any, kind: str) -> bool:
    """Return whether a value from JSON can stand for an annotation of `FieldSettings`."""
    allowed = {
        "str": (str,),
        "int": (int,),
        "float": (int, float),
        "float | None": (int, float, type(None)),
    }[kind]
    return isinstance(value, allowed) and not isinstance(value, bool)
