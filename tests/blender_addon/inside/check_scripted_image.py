"""Pictures by script and by command, against the real server (its worker paints noise)."""

from __future__ import annotations

import tempfile
from pathlib import Path

import bpy
import harness
from limbeck_protocol.editing import edit_recipe
from limbeck_protocol.errors import ErrorCode
from limbeck_protocol.recipe import Image
from pictures import fresh, pictures

addon = harness.load_addon()
runtime, api = addon.runtime, addon.api
image_import = addon.results.image_import


def saving_keeps_the_picture_and_its_recipe():
    fresh()
    image = api.image("a blue mug", size=16, seed=3)
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "picture.blend")
        bpy.ops.wm.save_as_mainfile(filepath=file)
        bpy.ops.wm.read_factory_settings(use_empty=True)
        bpy.ops.wm.open_mainfile(filepath=file)
    [image] = pictures()
    assert image.name == "Blue mug"
    assert tuple(image.size) == (16, 16)
    assert api.recipe_of(image).seed == 3


def the_api_makes_pictures():
    fresh()
    seen, told = [], []
    mug = api.image("a red mug", generator="pixels", size=24, on_preview=seen.append, on_progress=told.append)
    assert isinstance(mug, bpy.types.Image)
    assert seen
    assert seen[-1].image.shape == (16, 16, 3)
    assert told
    assert api.recipe_of(mug).image == Image(generator="pixels", size=24)
    other = api.image("a red mug", generator="pixels", size=24, seed=1)
    assert "seed: 0 -> 1" in api.compare(mug, other)
    job = api.submit("a green mug", image=True)
    assert job.wait().recipe.preset == "image"
    assert api.recipe_of(job.import_image()).image == Image()
    assert "makes a picture, not a mesh" in harness.error_of(job.import_mesh).message
    cube = api.submit("a red cube")
    cube.wait()
    assert "makes a mesh, not a picture" in harness.error_of(cube.import_image).message
    again = api.submit(api.recipe_of(mug))
    again.wait()
    assert api.import_job(again).name.startswith("Red mug")
    three = api.generate_variants("a mug", count=3, image={"size": 16})
    assert [api.recipe_of(image).seed for image in three] == [0, 1, 2]
    assert len({image["limbeck_job"] for image in three}) == 3


def bad_input_is_a_sentence():
    fresh()
    before = harness.data_blocks()
    cases = {
        "blank": lambda: api.image("a mug", generator=" "),
        "size": lambda: api.image("a mug", size=8),
        "`int | null`": lambda: api.image("a mug", size=24.5),
        "no cameras and no orbit": lambda: api.recipe_for("a mug", image=True, orbit=True),
        "describes none": lambda: api.recipe_for("a mug", image=7),
        "prompt is empty": lambda: api.image(" "),
        "no surface to be found": lambda: api.image("a failing mug"),
        "ends too early": lambda: api.image("a broken mug"),
    }
    for words, action in cases.items():
        error = harness.error_of(action)
        assert words in str(error), (words, str(error))
    assert harness.data_blocks() == before


def a_picture_is_no_start_for_an_edit():
    fresh()
    mug = api.image("a red mug", size=16)
    error = harness.error_of(lambda: api.edit(mug, "a blue mug"))
    assert "makes a picture, which has no field to start from" in error.message
    assert error.code is ErrorCode.BAD_STATE
    with api.connect(start_server=False) as client:
        job = client.job(mug["limbeck_job"])
        assert "makes a picture" in harness.error_of(lambda: edit_recipe(job, "a blue mug")).message


def the_command_makes_a_picture():
    fresh()
    with tempfile.TemporaryDirectory() as folder:
        png, blend = Path(folder) / "mug.png", Path(folder) / "mug.blend"
        run = addon.command_line.run
        assert run(["image", "a red mug", "--generator", "pixels", "--size", "40", "--out", str(png), "--json"]) == 0
        assert png.read_bytes() == pictures()[-1].packed_file.data
        assert api.recipe_of(pictures()[-1]).preset == "image"
        assert run(["image", "a red mug", "--size", "16", "--out", str(blend)]) == 0
        assert blend.exists()
        assert run(["image", "a red mug", "--out", str(Path(folder) / "mug.glb")]) == 2
        assert run(["generate", "a red mug", "--out", str(png)]) == 2
        assert run(["image", "a red mug", "--size", "4"]) == 2
        assert run(["image", "a failing mug"]) == 1


harness.main(
    saving_keeps_the_picture_and_its_recipe,
    the_api_makes_pictures,
    bad_input_is_a_sentence,
    a_picture_is_no_start_for_an_edit,
    the_command_makes_a_picture,
)
