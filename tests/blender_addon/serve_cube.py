"""The real server with the cube's worker: `python serve_cube.py`; its home is LIMBECK_HOME."""

from __future__ import annotations

import sys

import msgspec
from limbeck_protocol.errors import ErrorCode, LimbeckError, remedy_for
from limbeck_protocol.messages import Catalog, LossInfo
from limbeck_protocol.recipe import Recipe
from limbeck_server.service.server import ServeSettings, serve


def complete(recipe: Recipe) -> Recipe:
    if "gryphon" in recipe.prompt:
        remedy = remedy_for(ErrorCode.UNKNOWN_WORD, field="prompt")
        raise LimbeckError(ErrorCode.UNKNOWN_WORD, "The word 'gryphon' is not known.", remedy)
    return msgspec.structs.replace(recipe, versions={"cube": "1"})


def catalog() -> Catalog:
    return Catalog(losses=[LossInfo(name="sds", title="SDS", description="")], priors=[], presets=[])


if __name__ == "__main__":
    sys.exit(serve(ServeSettings(), complete, catalog, "cube_worker:run"))
