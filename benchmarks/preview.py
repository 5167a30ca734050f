"""Live previews: what a tick of the timer costs, how late a picture is, and what a viewer costs the optimiser.

    python benchmarks/preview.py [ticks] [latency] [viewer] [--seconds 20] [--json]

`ticks` and `latency` run Blender's module as a client of the real server, whose worker sends pictures and progress 20
times a second; they are shown in the panel and in an Image Editor. A tick is one call of what the timer calls, in CPU
time of its thread; while the server is stopped (SIGSTOP) its wall time shows whether it waits for anything. A picture's
lateness is from the moment when the worker made it to the moment when Blender has the pixels, less the timer's
interval. `viewer` runs the optimiser with the exact prior and compares steps with a viewer (48 pixels, 2 cameras a
second) to steps without, in turns in one run: sums of both kinds, and what pictures added to the steps' own time.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from limbeck_protocol.catalog import LossInfo
from limbeck_protocol.messages import (
    AnyWorkerEvent,
    Catalog,
    Finished,
    PhaseStarted,
    PreviewReady,
    Progress,
    ViewerCamera,
    WorkerProgress,
)
from limbeck_protocol.recipe import Recipe, Settings

HERE = Path(__file__).resolve().parent
SIZE = 128
STEP_S = 0.05
WARM_UP_TICKS = 40
VIEW_EVERY_S = 0.5
STEPS_A_TURN = 8
"""The occupancy map is made anew every so many: each turn has one of these dearer steps."""
KINDS = ("ticks", "latency", "viewer")


# --- the server's side ------------------------------------------------------------------------------------------------


def stamped(recipe: Recipe, folder: Path) -> Generator[AnyWorkerEvent, ViewerCamera | None, None]:
    """A worker whose pictures carry the moment at which they were made: eight bytes in their first row."""
    yield PhaseStarted(name="optimise", title="Stamping")
    ball = shaded_ball()
    steps = int(recipe.settings.steps)  # type: ignore[arg-type]  # the client sets it
    for step in range(1, steps + 1):
        time.sleep(STEP_S)
        yield WorkerProgress(progress=Progress(phase="optimise", step=step, steps=steps, loss=1.0 / step))
        image = np.roll(ball, step, axis=1)
        image[0].reshape(-1)[:8] = np.frombuffer(time.monotonic_ns().to_bytes(8, "little"), np.uint8)
        yield PreviewReady(step=step, image=image)
    yield Finished(metrics={})


def shaded_ball() -> np.ndarray:
    """Return a picture like those of a real job, (SIZE, SIZE, 3) uint8: a soft yellow ball before light grey."""
    y, x = np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j]
    height = np.sqrt(np.clip(0.5 - x**2 - y**2, 0, None))
    share = np.clip(height * 6, 0, 1)[..., None]
    colour = np.array([230, 210, 40]) * (0.4 + 0.6 * np.clip(height - 0.5 * x - 0.3 * y, 0, 1))[..., None]
    return (share * colour + (1 - share) * 217).astype(np.uint8)


def made_at(image: np.ndarray) -> float:
    """Return the moment that `stamped` wrote into a picture, in monotonic seconds."""
    return int.from_bytes(image[0].reshape(-1)[:8].tobytes(), "little") / 1e9


def serve_stamped() -> int:
    """Serve until told to stop."""
    from limbeck_server.service.server import ServeSettings, serve

    catalog = Catalog(losses=[LossInfo(name="sds", title="SDS", description="")], priors=[], presets=[])
    entry = "preview:stamped"
    return serve(ServeSettings(), lambda recipe: msgspec.structs.replace(recipe), lambda: catalog, entry)


@contextmanager
def server(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the server in `home`, which this process then looks into, too."""
    os.environ["LIMBECK_HOME"] = str(home)
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    process = subprocess.Popen([sys.executable, __file__, "--serve"], env=environment)
    try:
        while not (home / "run" / "server.json").exists():
            if process.poll() is not None:
                raise SystemExit("the server did not start")
            time.sleep(0.05)
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.wait(20)


# --- Blender's side ---------------------------------------------------------------------------------------------------


def load_addon() -> Any:
    """Return the add-on, registered in a fresh file."""
    sys.path.insert(0, str(HERE.parent / "packaging"))
    import bpy
    from load_addon import load_addon as load

    bpy.ops.wm.read_factory_settings(use_empty=True)
    addon = load()
    addon.register()
    return addon


def follow(addon: Any, seconds: float) -> Any:
    """Hand a job in that outlasts the measurement, and return the session once its pictures come."""
    runtime, session = addon.runtime, addon.runtime.session()
    session.submit(Recipe(prompt="a stamp", settings=Settings(steps=int(20 + 2 * seconds / STEP_S))), fetch=False)
    while session.followed.generation == 0:
        time.sleep(runtime.pump() or 0.01)
        if session.error is not None:
            raise SystemExit(f"the job did not start: {session.error}")
    return session


def measure_ticks(addon: Any, process: subprocess.Popen[bytes], seconds: float) -> dict[str, float]:
    """Return the milliseconds of a tick while pictures stream, and while the server is stopped."""
    runtime, session = addon.runtime, follow(addon, seconds)
    addon.previews.image_editor_preview.switch_on()
    first = session.followed.generation
    cpu, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        begun = time.thread_time()
        interval = runtime.pump()
        cpu.append(1000 * (time.thread_time() - begun))
        time.sleep(interval or 0.0)
    pictures = session.followed.generation - first
    process.send_signal(signal.SIGSTOP)
    wall, end = [], time.monotonic() + min(seconds, 10.0)
    while time.monotonic() < end:
        begun = time.monotonic()
        interval = runtime.pump()
        wall.append(1000 * (time.monotonic() - begun))
        time.sleep(interval or 0.05)
    process.send_signal(signal.SIGCONT)
    cpu = cpu[WARM_UP_TICKS:]
    session.cancel()
    settle(runtime)
    return {
        "ticks": len(cpu),
        "pictures": pictures,
        "tick_cpu_ms_p50": float(np.percentile(cpu, 50)),
        "tick_cpu_ms_p99": float(np.percentile(cpu, 99)),
        "tick_cpu_ms_max": max(cpu),
        "stopped_server_tick_wall_ms_max": max(wall),
    }


def measure_latency(addon: Any, seconds: float) -> dict[str, float]:
    """Return how late pictures are, in milliseconds beyond the timer's interval."""
    runtime = addon.runtime
    late: list[float] = []
    take = runtime.live.take

    def taken(picture: Any) -> None:
        take(picture)
        if picture.image is not None:
            late.append(1000 * (time.monotonic() - made_at(picture.image)))

    addon.previews.image_editor_preview.switch_on()
    runtime.session()._on_preview = taken
    session = follow(addon, seconds)
    late.clear()
    interval_s, end = 0.05, time.monotonic() + seconds
    while time.monotonic() < end:
        interval_s = runtime.pump() or interval_s
        time.sleep(interval_s)
    session.cancel()
    settle(runtime)
    beyond = np.maximum(0.0, np.array(late) - 1000 * interval_s)
    return {
        "pictures": len(late),
        "interval_ms": 1000 * interval_s,
        "late_ms_p50": float(np.percentile(late, 50)),
        "beyond_interval_ms_p95": float(np.percentile(beyond, 95)),
    }


def settle(runtime: Any) -> None:
    """Pump until nothing is awaited."""
    end = time.monotonic() + 30
    while (interval := runtime.pump()) is not None and time.monotonic() < end:
        time.sleep(interval)


# --- the optimiser's side ---------------------------------------------------------------------------------------------


def measure_viewer(seconds: float, threads: int) -> dict[str, float]:
    """Return what a viewer costs the optimiser: time per step with one over time per step without, in turns."""
    import torch
    from limbeck_server import assembly
    from limbeck_server.distillation.device import choose_device
    from limbeck_server.distillation.trainer import Trainer
    from limbeck_server.recipes import complete
    from limbeck_server.scene.cameras import orbit_views
    from limbeck_server.viewer_pictures import ViewerPictures, as_view

    torch.set_num_threads(threads)
    recipe = complete(Recipe(prompt="a yellow duck", preset="quick", settings=Settings(steps=20_000, threads=threads)))
    prior = assembly.load_prior(recipe, choose_device("cpu"))
    trainer = Trainer(prior, assembly.camera_rig(recipe), assembly.trainer_settings(recipe, prior))
    for _ in range(60):  # until there is a shape to be rendered
        trainer.step()

    def turn(viewed: bool) -> list[float]:
        """Optimise for a turn; return steps, pictures, wall and CPU seconds of the whole, wall seconds of the steps."""
        nonlocal viewer, asked
        drawn, in_steps, begun, cpu = 0, 0.0, time.perf_counter(), time.process_time()
        for _ in range(STEPS_A_TURN):
            before = time.perf_counter()
            if viewed and before - asked >= VIEW_EVERY_S:
                view = as_view(orbit_views(torch.tensor([45.0 * before % 360]), torch.tensor([20.0])))
                viewer, asked = ViewerCamera(camera_to_world=view.camera_to_world, lens=view.lens), before
            trainer.step()
            in_steps += time.perf_counter() - before
            if viewed:
                pictures.optimised(time.perf_counter() - before)
                drawn += pictures.answer(trainer, viewer) is not None
        return [STEPS_A_TURN, drawn, time.perf_counter() - begun, time.process_time() - cpu, in_steps]

    viewer, asked = None, 0.0
    pictures = ViewerPictures()
    turns: dict[bool, list[list[float]]] = {True: [], False: []}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for viewed in (True, False):
            turns[viewed].append(turn(viewed))
    with_viewer, without = np.sum(turns[True], axis=0), np.sum(turns[False], axis=0)
    return {
        "steps": float(with_viewer[0]),
        "steps_per_s_without": without[0] / without[2],
        "pictures_per_s": with_viewer[1] / with_viewer[2],
        "wall_ratio": (with_viewer[2] / with_viewer[0]) / (without[2] / without[0]),
        "cpu_ratio": (with_viewer[3] / with_viewer[0]) / (without[3] / without[0]),
        "pictures_share_of_steps": with_viewer[2] / with_viewer[4] - 1.0,
    }


# --- all --------------------------------------------------------------------------------------------------------------


def measure_in_blender(wanted: list[str], seconds: float) -> dict[str, dict[str, float]]:
    """Return the rows that need Blender's module and a server."""
    rows: dict[str, dict[str, float]] = {}
    home = Path(tempfile.mkdtemp(prefix="limbeck-benchmark-"))
    try:
        with server(home) as process:
            addon = load_addon()
            if "latency" in wanted:
                rows["latency"] = measure_latency(addon, seconds)
                addon.unregister()
                addon.register()
            if "ticks" in wanted:
                rows["ticks"] = measure_ticks(addon, process, seconds)
            addon.unregister()
    finally:
        shutil.rmtree(home, ignore_errors=True)
    return rows


def main() -> None:
    """Print what was asked for, and leave at once: Blender's module may hang at exit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", help=f"of {', '.join(KINDS)}; all of them unless named")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        sys.exit(serve_stamped())
    wanted = options.what or list(KINDS)
    if not set(wanted) <= set(KINDS):
        parser.error(f"expected some of {', '.join(KINDS)}; {' '.join(wanted)} came")
    rows: dict[str, dict[str, float]] = {}
    if "viewer" in wanted:
        rows["viewer"] = measure_viewer(options.seconds, options.threads)
    if {"ticks", "latency"} & set(wanted):
        rows |= measure_in_blender(wanted, options.seconds)
    if options.json:
        print(json.dumps(rows))
    for kind, row in rows.items() if not options.json else ():
        print(f"{kind:8}", "  ".join(f"{name}={value:.3g}" for name, value in row.items()))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
