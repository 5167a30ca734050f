"""Stored views: the same every time, extended by more, and proof against damaged files."""

import pytest
import torch
from limbeck_server.known_world import views as v
from limbeck_server.known_world.pictures import render_buffers
from limbeck_server.known_world.shapes import SHAPES
from limbeck_server.scene.cameras import azimuth_elevation_deg


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A cache folder with two blocks of ducks and one of cubes in it."""
    folder = tmp_path_factory.mktemp("views")
    v.load_library({"duck": 60, "cube": 5}, 64, folder)
    return folder


def forbid_rendering(monkeypatch):
    def refuse(name, block):
        raise AssertionError(f"rendered {name} {block} although it is in the cache")

    monkeypatch.setattr(v, "render_block", refuse)


def test_a_library_holds_what_was_asked_for(folder):
    library = v.load_library({"duck": 60, "car": 0, "cube": 5}, 64, folder)
    assert library.shape_names == ("cube", "duck")
    assert library.buffers.shape == (65, 5, 64, 64)
    assert library.buffers.dtype == torch.uint8
    assert library.shape_index.tolist() == [0] * 5 + [1] * 60
    assert library.azimuth_deg.shape == library.elevation_deg.shape == (65,)
    assert library.size == 64
    assert (library.buffers[:, 4].flatten(1) > 200).any(dim=1).all()


def test_views_come_from_files_and_a_larger_library_begins_with_the_smaller(folder, monkeypatch):
    forbid_rendering(monkeypatch)
    many, few = v.load_library({"duck": 60}, 64, folder), v.load_library({"duck": 7}, 64, folder)
    assert torch.equal(many.buffers[:7], few.buffers)
    assert torch.equal(many.azimuth_deg[:7], few.azimuth_deg)


def test_rendering_gives_the_same_values_on_one_thread_and_two():
    few = v.stored_views("duck", 0)[:12]  # enough rays for torch to share them out
    alone = render_buffers(SHAPES["duck"], few, 64)
    torch.set_num_threads(2)
    assert torch.equal(render_buffers(SHAPES["duck"], few, 64), alone)


def test_smaller_pictures_are_exact_box_averages(folder):
    large, small = v.load_library({"cube": 5}, 64, folder), v.load_library({"cube": 5}, 32, folder)
    sums = torch.nn.functional.avg_pool2d(large.buffers.double(), 2)
    assert torch.equal(small.buffers, (sums + 0.5).floor().to(torch.uint8))
    assert small.size == 32


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "stray"])
def test_damaged_files_are_rendered_anew(tmp_path, damage):
    expected = v.load_library({"cube": 5}, 64, tmp_path).buffers
    (path,) = tmp_path.rglob("*.views")
    data = path.read_bytes()
    middle = len(data) // 2
    flipped = data[:middle] + bytes([data[middle] ^ 4]) + data[middle + 1 :]
    path.write_bytes({"cut": data[:-100], "flip": flipped, "empty": b"", "stray": b"not views"}[damage])
    assert torch.equal(v.load_library({"cube": 5}, 64, tmp_path).buffers, expected)
    assert path.read_bytes() == data
    assert [file.name for file in path.parent.iterdir()] == [path.name], "no half-written file is left"


def test_a_folder_that_cannot_be_written_only_costs_time(tmp_path, folder):
    blocked = tmp_path / "a file where the folder should be"
    blocked.write_text("")
    library = v.load_library({"cube": 5}, 64, blocked)
    assert torch.equal(library.buffers, v.load_library({"cube": 5}, 64, folder).buffers)


def test_progress_is_told_after_every_block(folder):
    heard = []
    v.load_library({"duck": 60, "cube": 5}, 32, folder, lambda done, total: heard.append((done, total)))
    assert heard == [(5, 65), (53, 65), (65, 65)]


def test_stored_views_cover_the_sphere_evenly():
    cameras = [v.stored_views("duck", block) for block in range(10)]
    azimuth, elevation = (torch.cat(column) for column in zip(*map(azimuth_elevation_deg, cameras), strict=True))
    counts = torch.histc(azimuth, 8, -180.0, 180.0)
    assert counts.min() > 0.8 * 480 / 8
    assert counts.max() < 1.2 * 480 / 8
    assert elevation.min() < -33.0
    assert elevation.max() > 63.0
    assert torch.histc(elevation, 10, -35.0, 65.0).min() > 0.8 * 480 / 10
    assert not torch.equal(v.stored_views("car", 0).positions, v.stored_views("duck", 0).positions)


def test_the_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path))
    assert v.default_cache_folder() == tmp_path / "views"
    monkeypatch.delenv("LIMBECK_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert v.default_cache_folder() == tmp_path / ".cache" / "limbeck" / "views"


def test_default_counts_stay_near_2500_views():
    counts = v.default_counts("duck")
    assert counts["duck"] == 1200
    assert min(counts.values()) >= 45
    assert sum(counts.values()) <= 2500
    assert sum(v.default_counts(None).values()) <= 2600
    with pytest.raises(ValueError, match="no shape 'unicorn'"):
        v.default_counts("unicorn")


@pytest.mark.parametrize(
    ("counts", "size", "message"),
    [
        ({"unicorn": 1}, 64, "no shape 'unicorn'"),
        ({"duck": -1}, 64, "0 or more"),
        ({"duck": 0}, 64, "at least one view"),
        ({}, 64, "at least one view"),
        ({"duck": 1}, 48, "64, 32, 16 or 8"),
    ],
)
def test_bad_requests_are_refused_with_a_sentence(counts, size, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        v.load_library(counts, size, tmp_path)
