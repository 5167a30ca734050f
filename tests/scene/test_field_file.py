"""A field goes into a file and comes back the same to the last bit; what is no field is refused with a sentence."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from limbeck_server.scene.field import Field, FieldSettings, build_field
from limbeck_server.scene.field_file import FieldFileError, load_field, save_field
from safetensors import safe_open
from safetensors.torch import load_file, save_file

VOXELS = FieldSettings(resolution=9, bound=0.8, density_scale=7.0)
HASH_GRID = FieldSettings(
    kind="hash_grid", resolution=64, hash_levels=5, hash_log2_table_size=10, hash_base_resolution=4, hidden_width=16
)


def trained(settings: FieldSettings) -> Field:
    """A field whose every parameter has been moved from where it began."""
    generator = torch.Generator().manual_seed(1)
    field = build_field(settings, "cpu", generator)
    with torch.no_grad():
        for parameter in field.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator))
    return field


def metadata_of(path: Path) -> dict[str, str]:
    with safe_open(path, "pt") as file:
        return dict(file.metadata())


@pytest.mark.parametrize("settings", [VOXELS, HASH_GRID], ids=["voxels", "hash_grid"])
def test_a_field_comes_back_the_same_to_the_last_bit(settings: FieldSettings, tmp_path: Path) -> None:
    field = trained(settings)
    save_field(field, tmp_path / "field.safetensors")
    again = load_field(tmp_path / "field.safetensors")
    assert type(again) is type(field)
    assert again.settings == settings
    assert again.density_scale == field.density_scale
    points = torch.rand(500, 3, generator=torch.Generator().manual_seed(2)) * 1.6 - 0.8
    for before, after in zip(field.density_and_colour(points), again.density_and_colour(points), strict=True):
        assert torch.equal(before, after)
    assert all(parameter.requires_grad for parameter in again.parameters())
    assert [path.name for path in tmp_path.iterdir()] == ["field.safetensors"]


@pytest.mark.parametrize("settings", [VOXELS, HASH_GRID], ids=["voxels", "hash_grid"])
def test_the_same_field_gives_the_same_bytes(settings: FieldSettings, tmp_path: Path) -> None:
    """The library alone orders metadata as it likes: of a dozen files two would differ."""
    field = trained(settings)
    for number in range(12):
        save_field(field, tmp_path / f"{number}.safetensors")
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1


def test_levels_of_a_hash_grid_that_are_still_silent_stay_so(tmp_path: Path) -> None:
    field = trained(HASH_GRID)
    field.set_active_levels(2)  # type: ignore[operator]
    save_field(field, tmp_path / "field.safetensors")
    assert load_field(tmp_path / "field.safetensors").grid.active_levels == 2  # type: ignore[union-attr]


def test_saving_again_replaces_the_file(tmp_path: Path) -> None:
    path = tmp_path / "field.safetensors"
    save_field(trained(HASH_GRID), path)
    save_field(trained(VOXELS), path)
    assert load_field(path).settings == VOXELS


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def bytes_of_nothing(path: Path) -> None:
    path.write_bytes(b"\x00" * 64)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps({"weights": [1.0]}))


def of_something_else(path: Path) -> None:
    save_file(load_file(path), path, {"format": "pt"})


def of_a_later_release(path: Path) -> None:
    save_file(load_file(path), path, metadata_of(path) | {"limbeck_field": "2"})


def with_settings(**changes: object) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        metadata = metadata_of(path)
        settings = json.loads(metadata["settings"]) | changes
        save_file(load_file(path), path, metadata | {"settings": json.dumps(settings)})

    return damage


def settings_that_are_no_json(path: Path) -> None:
    save_file(load_file(path), path, metadata_of(path) | {"settings": "voxels of 9"})


def settings_that_are_a_list(path: Path) -> None:
    save_file(load_file(path), path, metadata_of(path) | {"settings": "[1, 2]"})


def without_its_grid(path: Path) -> None:
    save_file({"other": torch.zeros(3)}, path, metadata_of(path))


def with_a_nan(path: Path) -> None:
    tensors = load_file(path)
    next(iter(tensors.values())).view(-1)[0] = float("nan")
    save_file(tensors, path, metadata_of(path))


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "cut short": (cut_short, "no safetensors file, or a damaged one"),
    "zeros": (bytes_of_nothing, "no safetensors file, or a damaged one"),
    "empty": (empty, "no safetensors file, or a damaged one"),
    "a pickle": (pickled, "no safetensors file, or a damaged one"),
    "something else": (of_something_else, "of something else: expected a field saved by Limbeck"),
    "a later release": (of_a_later_release, "update Limbeck's server"),
    "an unknown setting": (with_settings(colour="red"), "its settings cannot be read"),
    "an unknown kind": (with_settings(kind="splats"), "unknown kind of field 'splats'"),
    "a setting of the wrong kind": (with_settings(bound="wide"), "its settings bound are of the wrong kind"),
    "a resolution that is not the grid's": (with_settings(resolution=100_000), "damaged"),
    "settings that are no JSON": (settings_that_are_no_json, "its settings cannot be read"),
    "settings that are a list": (settings_that_are_a_list, "its settings cannot be read"),
    "no grid": (without_its_grid, "damaged"),
    "a NaN": (with_a_nan, "not finite"),
}


@pytest.mark.parametrize("settings", [VOXELS, HASH_GRID], ids=["voxels", "hash_grid"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_no_field_is_refused_with_a_sentence(damage: str, settings: FieldSettings, tmp_path: Path) -> None:
    path = tmp_path / "field.safetensors"
    save_field(trained(settings), path)
    spoil, expected = DAMAGES[damage]
    spoil(path)
    with pytest.raises(FieldFileError, match=expected):
        load_field(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"field\.safetensors"):
        load_field(tmp_path / "field.safetensors")
