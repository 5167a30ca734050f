"""`make demo`: a prompt becomes a mesh in Blender, and is compared with the truth.

Starts a server of its own, lets Blender (as a Python module) be its client through the extension's `api`, with a rig of
four scene cameras and an orbit, and leaves in `demo/`: duck.blend, duck.glb, duck.png (a Cycles picture of the imported
object), previews.png (the growing object), result.json (recipe and metrics).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "packaging"))

PREVIEWS_IN_STRIP = 8
ORBIT_WEIGHT = 12.0
"""How often the orbit is drawn from; each of the four cameras counts 1."""


def main() -> int:
    """Run the demo and return the exit code."""
    options = parse_options()
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    # A home of its own: the demo neither finds nor disturbs a server that its user runs.
    os.environ["LIMBECK_HOME"] = str((out / "home").resolve())

    import bpy
    from load_addon import load_addon
    from rich.console import Console

    console = Console()
    limbeck = load_addon()
    limbeck.register()
    api = limbeck.api
    try:
        bpy.ops.wm.read_factory_settings(use_empty=True)
        cameras = place_cameras()
        previews: list[tuple[int, Any]] = []
        begun = time.monotonic()
        with progress_bars(console) as show:
            thing = api.generate(
                options.prompt,
                loss=options.loss,
                preset=options.preset,
                seed=options.seed,
                cameras=cameras,
                # Mostly the orbit: four fixed views alone leave haze where none of them looks.
                orbit={"weight": ORBIT_WEIGHT},
                on_progress=show,
                on_preview=lambda preview: previews.append((preview.step, preview.image)),
            )
        seconds = time.monotonic() - begun
        job_id = thing["limbeck_job"]
        with api.connect() as client:
            job = client.job(job_id)
            client.fetch_artifact(job_id, "mesh.glb", out / "duck.glb")
        save_strip(out / "previews.png", previews)
        build_set(thing)
        render_picture(out / "duck.png", size=options.picture)
        bpy.ops.wm.save_as_mainfile(filepath=str((out / "duck.blend").resolve()), check_existing=False)
        result = {
            "job_id": job_id,
            "seconds": seconds,
            "metrics": job.metrics,
            "recipe": json.loads(thing["limbeck_recipe"]),
        }
        (out / "result.json").write_text(json.dumps(result, indent=2))
        tell(console, job.metrics, seconds, out)
    finally:
        limbeck.connection.server_process.stop()
        limbeck.unregister()
    return 0


def parse_options() -> argparse.Namespace:
    """Return the command line's options; the defaults are the demo."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompt", default="a yellow duck")
    parser.add_argument("--loss", default="sds")
    parser.add_argument("--preset", default="standard")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", type=int, default=512, help="side of the Cycles picture in pixels")
    parser.add_argument("--out", type=Path, default=ROOT / "demo")
    return parser.parse_args()


def place_cameras() -> list[Any]:
    """Return four scene cameras, as an artist would place them: front, left, back, right, at various heights."""
    import bpy
    from mathutils import Vector

    cameras = []
    for name, azimuth_deg, elevation_deg in (("Front", 0, 15), ("Left", 90, 30), ("Back", 180, 10), ("Right", -90, 40)):
        data = bpy.data.cameras.new(name)
        data.angle = math.radians(41)
        camera = bpy.data.objects.new(name, data)
        azimuth, elevation = math.radians(azimuth_deg), math.radians(elevation_deg)
        camera.location = 2.05 * Vector(
            (math.sin(azimuth) * math.cos(elevation), -math.cos(azimuth) * math.cos(elevation), math.sin(elevation))
        )
        camera.rotation_euler = (-camera.location).to_track_quat("-Z", "Y").to_euler()
        bpy.context.scene.collection.objects.link(camera)
        cameras.append(camera)
    bpy.context.view_layer.update()
    return cameras


class progress_bars:
    """A rich bar per phase, fed by the client's progress messages."""

    def __init__(self, console: Any) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self.tasks: dict[str, Any] = {}
        columns = (TextColumn("{task.description:<10}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self.bars = Progress(*columns, console=console)

    def __enter__(self) -> Any:
        self.bars.start()
        return self.show

    def __exit__(self, *exc: object) -> None:
        self.bars.stop()

    def show(self, progress: Any) -> None:
        """Move the bar of the progress's phase."""
        if progress.phase not in self.tasks:
            self.tasks[progress.phase] = self.bars.add_task(progress.phase, total=progress.steps)
        self.bars.update(self.tasks[progress.phase], completed=progress.step, total=progress.steps)


def save_strip(path: Path, previews: list[tuple[int, Any]]) -> None:
    """Put previews, evenly spaced in steps, side by side into one picture."""
    import numpy as np
    from PIL import Image

    if not previews:
        raise SystemExit("no preview arrived while the job ran")
    wanted = np.linspace(previews[0][0], previews[-1][0], PREVIEWS_IN_STRIP)
    steps = np.array([step for step, _ in previews])
    chosen = [previews[int(np.abs(steps - step).argmin())][1] for step in wanted]
    Image.fromarray(np.concatenate(chosen, axis=1)).resize(
        (PREVIEWS_IN_STRIP * 192, 192), Image.Resampling.LANCZOS
    ).save(path)


def build_set(thing: Any) -> None:
    """Put the object on a floor, under a sun and a soft sky, before a camera."""
    import bpy
    from mathutils import Vector

    lowest = min((thing.matrix_world @ Vector(corner)).z for corner in thing.bound_box)
    bpy.ops.mesh.primitive_plane_add(size=20, location=(0, 0, lowest))
    floor = bpy.context.object
    material = bpy.data.materials.new("Floor")
    if material.node_tree is None:  # before Blender 5.0
        material.use_nodes = True
    material.node_tree.nodes["Principled BSDF"].inputs["Base Color"].default_value = (0.62, 0.66, 0.72, 1)
    material.node_tree.nodes["Principled BSDF"].inputs["Roughness"].default_value = 1.0
    floor.data.materials.append(material)
    sun = bpy.data.objects.new("Sun", bpy.data.lights.new("Sun", "SUN"))
    sun.data.energy, sun.data.angle = 2.0, math.radians(20)
    sun.rotation_euler = (math.radians(40), math.radians(10), math.radians(30))
    bpy.context.scene.collection.objects.link(sun)
    world = bpy.data.worlds.new("Sky")
    if world.node_tree is None:
        world.use_nodes = True
    world.node_tree.nodes["Background"].inputs["Color"].default_value = (0.9, 0.95, 1.0, 1)
    world.node_tree.nodes["Background"].inputs["Strength"].default_value = 0.8
    bpy.context.scene.world = world
    data = bpy.data.cameras.new("Picture")
    data.angle = math.radians(35)
    camera = bpy.data.objects.new("Picture", data)
    camera.location = (1.15, -1.95, 0.75)
    camera.rotation_euler = (Vector((0, 0, -0.03)) - camera.location).to_track_quat("-Z", "Y").to_euler()
    bpy.context.scene.collection.objects.link(camera)
    bpy.context.scene.camera = camera


def render_picture(path: Path, size: int) -> None:
    """Render the scene's camera with Cycles on the CPU."""
    import bpy

    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.cycles.device, scene.cycles.samples, scene.cycles.use_denoising = "CPU", 64, False
    scene.render.resolution_x = scene.render.resolution_y = size
    scene.view_settings.view_transform = "Standard"
    scene.render.image_settings.file_format = "PNG"
    scene.render.filepath = str(path.resolve())
    bpy.ops.render.render(write_still=True)


def tell(console: Any, metrics: dict[str, Any], seconds: float, out: Path) -> None:
    """Print the metrics beside those of the untouched start, and where the pictures are."""
    from rich.table import Table

    table = Table("compared with the truth", "start blob", "result", title=f"{seconds:.0f} s from submit to scene")
    start = metrics.get("start") or {}
    for name, value in metrics.items():
        if isinstance(value, bool | int | float | str):
            before = start.get(name, "")
            table.add_row(name, *(f"{v:.3f}" if isinstance(v, float) else str(v) for v in (before, value)))
    console.print(table)
    console.print(f"Look at {out}/duck.png, {out}/previews.png, {out}/duck.blend, {out}/duck.glb")


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # bpy 4.5 can wait for ever in its static destructors; everything is written and closed by now.
    os._exit(code)
