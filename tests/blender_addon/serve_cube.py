"""The real server with the cube's worker: `python serve_cube.py [--version] [serve] [--bind ADDRESS]`.

Its home is LIMBECK_HOME. It takes the words that the panel gives to the command `limbeck`, so that it can stand for it.
"""

from __future__ import annotations

import sys

import msgspec
from limbeck_protocol.errors import ErrorCode, LimbeckError, remedy_for
from limbeck_protocol.messages import Catalog, LossInfo, PresetInfo
from limbeck_protocol.recipe import Recipe
from limbeck_server.cli.announcement import announce
from limbeck_server.service.server import ServeSettings, serve


def complete(recipe: Recipe) -> Recipe:
    if "gryphon" in recipe.prompt:
        remedy = remedy_for(ErrorCode.UNKNOWN_WORD, field="prompt")
        raise LimbeckError(ErrorCode.UNKNOWN_WORD, "The word 'gryphon' is not known.", remedy)
    return msgspec.structs.replace(recipe, versions={"cube": "1"})


def catalog() -> Catalog:
    losses = [LossInfo(name=name, title=name.upper(), description="") for name in ("sds", "dds")]
    presets = [
        PresetInfo(name=name, loss=loss.name, prior="exact", description="", settings={}, makes=makes)
        for loss in losses
        for name, makes in (("standard", "object"), ("quick", "object"), ("image", "image"), ("nfsd-image", "image"))
    ]
    return Catalog(losses=losses, priors=[], presets=presets)


def main(words: list[str]) -> int:
    if "--version" in words:
        print("limbeck 0.0.0-cube")
        return 0
    settings = ServeSettings()
    if "--bind" in words:
        settings = ServeSettings(bind=words[words.index("--bind") + 1], wide=True)
    return serve(
        settings,
        complete,
        catalog,
        "cube_worker:run",
        ready=lambda record: print("\n".join(announce(record, settings.bind)), flush=True),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
