"""Pictures of jobs: what is no picture is refused, and only so many are kept."""

from __future__ import annotations

import io

import harness
import numpy as np

addon = harness.load_addon()


def hostile_thumbnails_are_refused():
    read = addon.previews.thumbnails.read_thumbnail

    def saved(array: np.ndarray) -> bytes:
        stream = io.BytesIO()
        np.save(stream, array)
        return stream.getvalue()

    good = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    assert np.array_equal(read(saved(good)), good)
    for bad in (
        np.zeros((4, 5, 4), np.uint8),
        np.zeros((4, 5), np.uint8),
        np.zeros((257, 5, 3), np.uint8),
        np.zeros((0, 5, 3), np.uint8),
        np.zeros((4, 5, 3), np.float32),
        np.asfortranarray(good),
    ):
        assert read(saved(bad)) is None, bad.shape
    content = saved(good)
    assert read(content[:-1]) is None
    assert read(content + b"x") is None
    assert read(content[:20]) is None
    assert read(b"") is None
    assert read(content.replace(b"(4, 5, 3)", b"(9, 9, 3)")) is None
    assert read(content.replace(b"'descr'", b"'d(scr'")) is None


def only_so_many_pictures_are_kept():
    pictures = addon.previews.thumbnails.Thumbnails()
    for number in range(addon.previews.thumbnails.KEPT + 3):
        pictures.show(f"job-{number:05}", np.zeros((96, 96, 3), np.uint8))
    assert "job-00002" not in pictures
    assert "job-00003" in pictures
    assert tuple(pictures._previews["job-00003"].icon_size) == (32, 32)
    pictures.clear()
    assert pictures.icon_id("job-00003") == 0


harness.main(hostile_thumbnails_are_refused, only_so_many_pictures_are_kept)
