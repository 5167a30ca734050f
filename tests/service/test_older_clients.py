"""Clients of an earlier minor version get jobs that they can read: nothing stored is changed for their sake."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from limbeck_protocol import messages
from limbeck_protocol.client import Client
from limbeck_protocol.recipe import Image, Settings

PARAMETERS: dict[str, float | str] = {"bandwidth": 0.25, "sampler": "product"}


def test_a_client_before_1_2_gets_jobs_without_choices(
    client: Client, tools: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = msgspec.structs.replace(
        tools.make_recipe(), loss="msd", settings=Settings(steps=3, loss_parameters=PARAMETERS)
    )
    submitted = client.submit(recipe)
    assert submitted.recipe.settings.loss_parameters == PARAMETERS
    with monkeypatch.context() as older:
        older.setattr(messages, "PROTOCOL_MINOR", 1)  # in this process: the client's alone
        told = [client.job(submitted.job_id), next(job for job in client.jobs().jobs if job.job_id == submitted.job_id)]
    for job in told:
        assert job.recipe.settings.loss_parameters == {"bandwidth": 0.25}
        assert job.recipe.settings.steps == 3
    assert client.job(submitted.job_id).recipe.settings.loss_parameters == PARAMETERS


def test_a_client_before_1_3_gets_jobs_without_images_and_is_told_of_no_image(
    client: Client, tools: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = Image(generator="mlp", size=32)
    submitted = client.submit(msgspec.structs.replace(tools.make_recipe(), image=picture))
    assert submitted.recipe.image == picture
    with monkeypatch.context() as older:
        older.setattr(messages, "PROTOCOL_MINOR", 2)  # in this process: the client's alone
        told = client.job(submitted.job_id).recipe
        presets = client.catalog().presets
    assert not told.image
    assert told.versions["shortened for"] == "protocol 1.2"
    assert all(preset.makes == "object" for preset in presets)
    assert client.job(submitted.job_id).recipe.image == picture
