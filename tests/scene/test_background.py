from __future__ import annotations

import pytest
import torch
from limbeck_server.scene.background import sample_background


@pytest.mark.parametrize(("name", "level"), [("black", 0.0), ("grey", 0.5), ("white", 1.0)])
def test_fixed_backgrounds_draw_nothing(name, level, generator):
    before = generator.get_state()
    assert torch.equal(sample_background(name, 3, generator), torch.full((3, 3), level))
    assert torch.equal(before, generator.get_state())


def test_random_backgrounds_are_uniform_and_independent(generator):
    colours = sample_background("random", 4000, generator)
    assert colours.shape == (4000, 3)
    assert ((colours >= 0) & (colours < 1)).all()
    # Four standard errors: of the mean 4 x 0.2887 / sqrt(4000), of a correlation 4 / sqrt(4000).
    assert (colours.mean(0) - 0.5).abs().max() < 0.0183
    assert (torch.corrcoef(colours.t()) - torch.eye(3)).abs().max() < 0.0633


def test_the_same_seed_gives_the_same_backgrounds():
    first, second = (sample_background("random", 5, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first, second)


def test_an_unknown_background_is_refused_by_name(generator):
    with pytest.raises(ValueError, match="unknown background 'pink': expected one of random, black, grey, white"):
        sample_background("pink", 1, generator)
