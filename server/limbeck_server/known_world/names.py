"""The words for the known world's shapes: one name each, and the other words that people use for them."""

from __future__ import annotations

SHAPE_NAMES: tuple[str, ...] = (
    "sphere",
    "cube",
    "cylinder",
    "cone",
    "torus",
    "capsule",
    "pyramid",
    "star",
    "dumbbell",
    "hammer",
    "mug",
    "bottle",
    "lamp",
    "table",
    "chair",
    "sofa",
    "bed",
    "house",
    "tree",
    "mushroom",
    "cactus",
    "car",
    "boat",
    "airplane",
    "rocket",
    "snowman",
    "duck",
    "robot",
)
"""Every shape, in the order in which stored views and tables list them. A name is one word."""

SHAPE_SYNONYMS: dict[str, str] = {
    "ball": "sphere",
    "box": "cube",
    "donut": "torus",
    "doughnut": "torus",
    "pill": "capsule",
    "barbell": "dumbbell",
    "cup": "mug",
    "couch": "sofa",
    "cottage": "house",
    "toadstool": "mushroom",
    "automobile": "car",
    "sailboat": "boat",
    "sailing boat": "boat",
    "plane": "airplane",
    "aeroplane": "airplane",
    "spaceship": "rocket",
    "duckling": "duck",
    "rubber duck": "duck",
}

COLOUR_SYNONYMS: dict[str, str] = {
    "gray": "grey",
    "violet": "purple",
    "turquoise": "cyan",
    "golden": "yellow",
    "scarlet": "red",
}
