"""A small known world: few views of few shapes, 16 pixels wide, so that a study takes seconds."""

from __future__ import annotations

import pytest
from limbeck_server.known_world.views import load_library
from limbeck_server.priors.exact import ExactPrior, degraded_views


@pytest.fixture(scope="session")
def small_world(tmp_path_factory: pytest.TempPathFactory) -> ExactPrior:
    library = load_library({"duck": 96, "cube": 12, "sphere": 12}, 16, tmp_path_factory.mktemp("views"))
    return ExactPrior(library, degraded_views(library, 4))
