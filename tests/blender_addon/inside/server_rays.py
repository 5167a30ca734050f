"""The server's cameras in a process of their own: where its rays see points. Blender's Python need not have torch.

Run as a script, it answers lines of JSON on its standard input; imported, `ServerRays` starts it and asks.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path


class ServerRays:
    """The other process; it ends with this one, when its input does."""

    def __init__(self) -> None:
        python = os.environ.get("LIMBECK_TEST_PYTHON", sys.executable)
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        self._process = subprocess.Popen(
            [python, "-W", "error", str(Path(__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def ask(self, **request: object) -> dict:
        """Return the answer of `answer`."""
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


def answer(request: dict) -> dict:
    """Return positions on an orbit, or what one camera of a recipe sees.

    Args:
        request: `orbit` (azimuths, elevations, distances), or `recipe` (JSON text), `number` of the camera, `size` of
            the picture and `points` (n, 3) in the object's frame.

    Returns:
        `positions`; or `pixels` (n, 2), x and y downwards, `origin` (3,) and `corners` (4, 3): the rays of the
        outermost pixels, from the lower left against the clock as the picture shows it.
    """
    import numpy as np
    import torch
    from limbeck_protocol.recipe import recipe_from_json
    from limbeck_server.assembly import camera_rig
    from limbeck_server.scene.cameras import orbit_positions, rays

    torch.set_num_threads(1)
    if "orbit" in request:
        return {"positions": orbit_positions(*(torch.tensor(values) for values in request["orbit"])).tolist()}
    number, size = request["number"], request["size"]
    views = camera_rig(recipe_from_json(request["recipe"])).cameras[number : number + 1].to("cpu", torch.float64)
    origins, directions = rays(views, size)
    rotation, origin = views.camera_to_world[0, :3, :3].numpy(), origins[0, 0, 0].numpy()

    def on_plane(direction: np.ndarray) -> np.ndarray:
        local = rotation.T @ direction
        return local[:2] / -local[2]

    # The rays of three pixels, dehomogenised, give the picture's axes; with them any point's pixel.
    corner, right, below = (on_plane(directions[0, y, x].numpy()) for y, x in ((0, 0), (0, size - 1), (size - 1, 0)))
    axes = np.column_stack([right - corner, below - corner]) / (size - 1)
    pixels = [np.linalg.solve(axes, on_plane(np.asarray(point) - origin) - corner) + 0.5 for point in request["points"]]
    corners = [directions[0, row, column].tolist() for row, column in ((-1, 0), (-1, -1), (0, -1), (0, 0))]
    return {"pixels": [pixel.tolist() for pixel in pixels], "origin": origin.tolist(), "corners": corners}


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)
