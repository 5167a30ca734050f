"""What a server sends as `image.png`: the frame is checked chunk by chunk; Blender's own reader sees the rest."""

from __future__ import annotations

import random
import struct
import zlib

import bpy
import harness
import numpy as np
from limbeck_protocol.errors import ErrorCode
from limbeck_protocol.recipe import Image, Recipe

addon = harness.load_addon()
picture, image_import = addon.results.picture, addon.results.image_import
Origin = addon.results.recipe_on_object.Origin
MUG = Recipe(prompt="a red mug", preset="image", image=Image(generator="mlp"))
SIGNATURE = addon.results.png.SIGNATURE


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width=3, height=2, bits=8, kind=2, methods=(0, 0, 0), rows=None, channels=3, more=b"") -> bytes:
    if rows is None:
        rows = b"".join(b"\0" + bytes(width * channels * bits // 8) for _ in range(height))
    header = struct.pack(">IIBBBBB", width, height, bits, kind, *methods)
    return SIGNATURE + chunk(b"IHDR", header) + more + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def usual_files_are_taken():
    for content, width, height in (
        (png(), 3, 2),
        (png(kind=0, channels=1), 3, 2),
        (png(kind=6, channels=4), 3, 2),
        (png(bits=16), 3, 2),
        (png(more=chunk(b"tEXt", b"Comment\0hello")), 3, 2),
        (addon.results.png.png_bytes(np.zeros((5, 7, 3), dtype=np.uint8)), 7, 5),
    ):
        read = picture.read_picture(content)
        assert (read.content, read.width, read.height) == (content, width, height)


def anything_else_is_a_sentence():
    good = png()
    damaged = bytearray(good)
    damaged[-20] ^= 1
    cases = {
        "no PNG file": b"GIF89a",
        "how large it is": SIGNATURE + chunk(b"IDAT", b"") + chunk(b"IEND", b""),
        "ends too early": good[:-12],
        "part": bytes(damaged),
        "measures 0 x 2": png(width=0, rows=b"\0\0"),
        "measures 20000 x 2": png(width=20000),
        "unusual kind (8 bits, type 3)": png(kind=3, channels=1),
        "unusual kind (1 bits": png(bits=1, rows=b"\0\0"),
        "unusual kind": png(methods=(0, 0, 1)),
        "as many pixels": png(height=3, rows=b"\0" * 20),
        "as many pixels as it says": png(rows=b"\0" * 5_000_000),  # it would unpack to far more than announced
        "unknown way": png(rows=(b"\7" + bytes(9)) * 2),
        "cannot be unpacked": SIGNATURE
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 3, 2, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", b"no zlib stream")
        + chunk(b"IEND", b""),
    }
    for words, content in cases.items():
        error = harness.error_of(lambda content=content: picture.read_picture(content))
        assert words in error.message, (words, error.message)
        assert error.message.startswith("The picture that came from the server is not usable: ")
        assert error.code is ErrorCode.BAD_FRAME


def no_damage_of_a_few_bytes_brings_blender_down():
    """Each damaged file is refused with a sentence, or it is a picture still; Blender is handed only the latter."""
    draw, good = random.Random(1), png(16, 16)
    taken = 0
    for _ in range(300):
        content = bytearray(good)
        for _ in range(draw.randint(1, 3)):
            content[draw.randrange(len(content))] = draw.randrange(256)
        cut = bytes(content[: draw.choice([len(content), draw.randrange(len(content))])])
        try:
            read = picture.read_picture(cut)
        except harness.LimbeckError:
            continue
        taken += 1
        image_import.import_image(read, Origin("", MUG))
    assert taken < 30


def a_picture_is_packed_named_and_kept_and_its_colours_are_right():
    bpy.ops.wm.read_factory_settings(use_empty=True)
    pixels = np.zeros((4, 6, 3), dtype=np.uint8)
    pixels[0] = (255, 0, 0)  # the first row on top
    pixels[3, 5] = (0, 0, 255)
    origin = Origin("job-0001", MUG, {"accuracy": 0.5})
    content = addon.results.png.png_bytes(pixels)
    image = image_import.import_image(picture.read_picture(content), origin, preview=pixels)
    assert image.name == "Red mug"
    assert tuple(image.size) == (6, 4)
    assert image.packed_file.data == content
    assert image.users == 1
    assert image.use_fake_user
    assert tuple(image.preview.image_size) == (6, 4)
    shown = np.array(image.pixels[:]).reshape(4, 6, image.channels)
    assert np.allclose(shown[3, :, :3], (1, 0, 0))  # Blender's first row is the lowest
    assert np.allclose(shown[0, 5, :3], (0, 0, 1))
    assert addon.results.recipe_on_object.read_origin(image) == origin
    assert image_import.import_image(picture.read_picture(content), origin) == image, "it is there already"
    assert len(bpy.data.images) == 1
    other = image_import.import_image(picture.read_picture(content), Origin("job-0002", MUG))
    assert other.name == "Red mug.001"


def what_blender_cannot_read_leaves_nothing_behind():
    bpy.ops.wm.read_factory_settings(use_empty=True)
    before = harness.data_blocks()
    false = picture.Picture(b"this is no picture", 4, 4)
    error = harness.error_of(lambda: image_import.import_image(false, Origin("job-0001", MUG)))
    assert "Blender cannot read it" in error.message
    assert harness.data_blocks() == before


harness.main(
    usual_files_are_taken,
    anything_else_is_a_sentence,
    no_damage_of_a_few_bytes_brings_blender_down,
    a_picture_is_packed_named_and_kept_and_its_colours_are_right,
    what_blender_cannot_read_leaves_nothing_behind,
)
