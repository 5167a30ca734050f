"""The extension's manifest against the rules that Blender's own validator applies."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

MANIFEST = Path(__file__).parents[2] / "blender_addon" / "blender_manifest.toml"


@pytest.fixture
def manifest() -> dict:
    return tomllib.loads(MANIFEST.read_text(encoding="utf-8"))


def test_identity_licence_and_versions_are_as_blender_wants_them(manifest: dict) -> None:
    assert manifest["schema_version"] == "1.0.0"
    assert (manifest["id"], manifest["type"]) == ("limbeck", "add-on")
    assert manifest["license"] == ["SPDX:GPL-3.0-or-later"]
    assert manifest["blender_version_min"] == "4.5.0"
    assert len(manifest["version"].split(".")) == 3


def test_tags_are_of_blenders_list(manifest: dict) -> None:
    assert set(manifest["tags"]) <= {"Add Mesh", "Import-Export"}


def test_sentences_are_short_and_end_without_a_full_stop(manifest: dict) -> None:
    assert set(manifest["permissions"]) == {"network", "files", "clipboard"}
    for sentence in (manifest["tagline"], *manifest["permissions"].values()):
        assert len(sentence) <= 64
        assert sentence[-1].isalnum()


def test_no_optional_key_is_left_empty(manifest: dict) -> None:
    assert all(manifest.values())
