"""Which shapes are never seen in which colour: what is left out of training, so that composition can be scored."""

from __future__ import annotations

from limbeck_server.known_world.palette import COLOURS

HELD_OUT: dict[str, str] = {
    "sphere": "green",
    "cube": "cyan",
    "cylinder": "red",
    "cone": "blue",
    "torus": "pink",
    "capsule": "white",
    "pyramid": "black",
    "star": "purple",
    "dumbbell": "brown",
    "hammer": "orange",
    "mug": "grey",
    "bottle": "yellow",
    "lamp": "pink",
    "table": "purple",
    "chair": "white",
    "sofa": "blue",
    "bed": "orange",
    "house": "green",
    "tree": "grey",
    "mushroom": "cyan",
    "cactus": "red",
    "car": "yellow",
    "boat": "brown",
    "airplane": "black",
    "rocket": "black",
    "snowman": "brown",
    "duck": "grey",
    "robot": "blue",
}
"""Shape -> the one colour that no picture of it has in training, captioned or not.

Permutations of the colours, one after another, in the order of the shapes: drawn by a generator whose seed, 7, is the
first that leaves alone what the documentation's first prompts ask for. Every colour is left out two or three times.
"""


def held_out_colour(shape: str) -> int:
    """Return the index, in `COLOURS`, of the colour that is left out for a shape."""
    return list(COLOURS).index(HELD_OUT[shape])


def is_held_out(shape: str | None, colour: str | None) -> bool:
    """Return whether a caption names a pair that training leaves out."""
    return shape is not None and HELD_OUT[shape] == colour
