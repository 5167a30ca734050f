"""What pictures are made of: shapes, ranges, starts, and that pictures of one module share nothing."""

from __future__ import annotations

import pytest
import torch
from limbeck_server.presets import images
from limbeck_server.scene.image import GENERATORS, CoordinateNetwork, Latents, Pixels, build_image, pixel_centres

CPU = torch.device("cpu")


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_latents_are_what_is_optimised_and_begin_as_noise() -> None:
    module = build_image("latents", 64, (4, 8, 8), CPU, draws(), pictures=3)
    assert isinstance(module, Latents)
    assert module.makes_latents
    assert torch.equal(module(), torch.randn(3, 4, 8, 8, generator=draws()))
    assert [parameter.shape for parameter in module.parameters()] == [(3, 4, 8, 8)]


def test_latents_are_a_copy_of_their_start() -> None:
    start = torch.zeros(1, 4, 2, 2)
    module = Latents(start)
    with torch.no_grad():
        module.values += 1.0
    assert float(start.abs().max()) == 0.0


@pytest.mark.parametrize("kind", ["pixels", "mlp"])
def test_pictures_begin_as_grey_in_range(kind: str) -> None:
    picture = build_image(kind, 24, (4, 3, 3), CPU, draws(), pictures=2)().detach()
    assert picture.shape == (2, 3, 24, 24)
    assert float(picture.min()) >= 0.0
    assert float(picture.max()) <= 1.0
    assert float((picture - 0.5).abs().max()) < 0.25
    assert float(picture.std()) > 0.0


@pytest.mark.parametrize("kind", GENERATORS)
def test_the_same_draws_give_the_same_start_and_others_another(kind: str) -> None:
    first, again, other = (build_image(kind, 16, (4, 2, 2), CPU, draws(seed))() for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("kind", GENERATORS)
def test_pictures_of_one_module_share_nothing(kind: str) -> None:
    module = build_image(kind, 16, (4, 2, 2), CPU, draws(), pictures=2)
    module()[0].sum().backward()
    for parameter in module.parameters():
        assert parameter.grad is not None
        assert float(parameter.grad[1].abs().max()) == 0.0
    assert any(float(parameter.grad[0].abs().max()) > 0.0 for parameter in module.parameters())


def test_a_pixel_is_the_sigmoid_of_its_logit() -> None:
    module = Pixels(1, 2, CPU, draws())
    with torch.no_grad():
        module.logits.copy_(torch.linspace(-3.0, 3.0, 12).view(1, 3, 2, 2))
    torch.testing.assert_close(module(), torch.linspace(-3.0, 3.0, 12).sigmoid().view(1, 3, 2, 2))


def test_pixel_centres_run_row_by_row_with_the_middle_at_the_origin() -> None:
    assert pixel_centres(2).tolist() == [[-0.25, -0.25], [0.25, -0.25], [-0.25, 0.25], [0.25, 0.25]]
    torch.testing.assert_close(pixel_centres(7).mean(dim=0), torch.zeros(2))


def test_a_network_of_coordinates_learns_a_picture_with_an_edge() -> None:
    truth = torch.zeros(1, 3, 16, 16)
    truth[:, 0, :, 8:] = 1.0
    module = CoordinateNetwork(1, 16, CPU, draws())
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    for _ in range(150):
        error = (module() - truth).square().mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
    assert float(error.detach()) < 1e-3


def test_an_unknown_kind_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="latents, pixels, mlp"):
        build_image("oils", 16, (4, 2, 2), CPU, draws())


def test_presets_know_the_same_kinds() -> None:
    assert images.GENERATORS == GENERATORS
