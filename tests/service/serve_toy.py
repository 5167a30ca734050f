"""A server with the toy worker: `python serve_toy.py OPTIONS-AS-JSON`; its home is LIMBECK_HOME."""

from __future__ import annotations

import json
import logging
import sys

import msgspec
from limbeck_protocol.errors import ErrorCode, LimbeckError, remedy_for
from limbeck_protocol.messages import Catalog
from limbeck_protocol.recipe import Recipe
from limbeck_server.service.job_queue import QueueLimits
from limbeck_server.service.server import EXIT_BIND_REFUSED, ServeSettings, serve


def complete(recipe: Recipe) -> Recipe:
    if "gryphon" in recipe.prompt:
        raise LimbeckError(
            ErrorCode.UNKNOWN_WORD,
            "The word 'gryphon' is not known.",
            remedy_for(ErrorCode.UNKNOWN_WORD, field="prompt"),
        )
    return msgspec.structs.replace(recipe, versions={"toy": "1"})


def catalog() -> Catalog:
    return Catalog(losses=[], priors=[], presets=[])


def main() -> int:
    logging.basicConfig(level=logging.INFO)
    options = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}
    entry = options.pop("entry", "toy_worker:run")
    if "queued" in options:
        options["limits"] = QueueLimits(queued=options.pop("queued"))
    try:
        return serve(ServeSettings(**options), complete, catalog, entry)
    except LimbeckError as error:
        print(f"{error.code}: {error}", file=sys.stderr)
        return EXIT_BIND_REFUSED if error.code == ErrorCode.ACCESS_DENIED else 1


if __name__ == "__main__":
    sys.exit(main())
