"""Presets as values: the papers' settings, converted as they say, and a source for every one of them."""

from __future__ import annotations

import msgspec
import pytest
from limbeck_protocol.messages import Catalog
from limbeck_protocol.recipe import Settings
from limbeck_server import presets, recipes
from limbeck_server.distillation.losses import LOSSES
from limbeck_server.presets.layers import Sourced, entries, from_one_source, reworded, setting_names, sourced, stack
from msgspec import UNSET

NETWORK = presets.STABLE_DIFFUSION
PUBLISHED = sorted(key for key in presets.PRESETS if key[2] == NETWORK and presets.makes(key[0]) == "object")
NAMED = {
    "dreamfusion": "sds",
    "sjc": "sds",
    "nfsd": "nfsd",
    "csd": "csd",
    "msd": "msd",
    "sdi": "sdi",
    "luciddreamer": "ism",
    "prolificdreamer": "vsd",
    "dds": "dds",
}


def named(name: str) -> Settings:
    return presets.PRESETS[name, NAMED[name], NETWORK]


@pytest.mark.parametrize("key", presets.PRESETS, ids="-".join)
def test_no_field_of_a_preset_lacks_a_source(key: tuple[str, str, str]) -> None:
    sources = presets.SOURCES[key]
    assert list(sources) == setting_names(presets.PRESETS[key])
    assert all(source.strip() and "{" not in source for source in sources.values())


@pytest.mark.parametrize("key", PUBLISHED, ids="-".join)
def test_a_published_preset_names_everything_down_to_the_loss_s_parameters(key: tuple[str, str, str]) -> None:
    settings = presets.PRESETS[key]
    # How many cores to use is a question of the machine.
    unset = {name for name in settings.__struct_fields__ if getattr(settings, name) is UNSET}
    assert unset == {"threads"}
    assert set(settings.loss_parameters) == {parameter.name for parameter in LOSSES[key[1]].parameters}


@pytest.mark.parametrize("key", [key for key in PUBLISHED if key[0] != "quick"], ids="-".join)
def test_what_a_published_preset_is_about_is_not_ours(key: tuple[str, str, str]) -> None:
    for name in ("guidance_scale", "weighting", "timestep_max", "views_per_step"):
        assert not presets.SOURCES[key][name].startswith("ours"), name


def test_every_paper_has_its_preset_and_the_first_of_a_loss_is_its_standard() -> None:
    assert {(name, loss) for name, loss, kind in PUBLISHED if name not in ("quick", "standard")} == set(NAMED.items())
    for name, loss in NAMED.items():
        if name != "sjc":
            assert named(name) is presets.PRESETS["standard", loss, NETWORK]
            assert presets.SOURCES[name, loss, NETWORK] == presets.SOURCES["standard", loss, NETWORK]


# Scales counted from the conditional prediction are s + 1 here; those in diffusers' form are what they are.
SCALES = {
    "dreamfusion": 101.0,
    "sjc": 101.0,
    "nfsd": 7.5,
    "csd": 1.0,
    "msd": 8.5,
    "sdi": 7.5,
    "luciddreamer": 7.5,
    "prolificdreamer": 7.5,
    "dds": 7.5,
}


def test_guidance_scales_are_in_diffusers_convention() -> None:
    assert {name: named(name).guidance_scale for name in NAMED} == SCALES


def test_the_papers_figures_are_the_papers() -> None:
    assert {name: named(name).steps for name in NAMED if name != "dds"} == {
        "dreamfusion": 10_000,
        "sjc": 10_000,
        "nfsd": 25_000,
        "csd": 10_000,
        "msd": 7000,
        "sdi": 10_000,
        "luciddreamer": 5000,
        "prolificdreamer": 25_000,
    }
    nfsd, sdi, csd, ism = named("nfsd"), named("sdi"), named("csd"), named("luciddreamer")
    assert (nfsd.background, nfsd.learning_rate, nfsd.loss_parameters) == ("alternating", 0.01, {"threshold": 200.0})
    # At step 5000 of 25,000, at once.
    assert nfsd.render_size == [(0.0, 64), (0.2, 512)]
    assert nfsd.timestep_max == [(0.0, 0.98), (0.2, 0.98), (0.2, 0.5)]
    assert (sdi.timestep_schedule, sdi.timestep_min, sdi.timestep_max) == ("linear", 0.25, [(0.0, 0.98)])
    assert (sdi.weighting, sdi.perp_neg, sdi.loss_parameters["inversion_guidance"]) == ("noise_to_signal", 1.0, -7.5)
    assert (csd.weighting, csd.perp_neg, csd.learning_rate) == ("uniform", 3.0, 0.001)
    assert (ism.weighting, ism.views_per_step) == ("noise_to_signal", 4)
    assert named("sjc").weighting == "uniform"
    assert named("dds").weighting == "uniform"


def test_weights_beside_a_mean_are_multiplied_by_what_it_divides_by() -> None:
    latents = 4 * 64 * 64
    weights = named("sdi").regularizers
    assert weights["orientation"] == [(0.0, pytest.approx(0.1 * latents))]
    assert weights["opaqueness"] == [(0.0, pytest.approx(0.1 * latents))]
    assert weights["sparsity"] == [(0.0, pytest.approx(0.15 * latents)), (0.3, 0.0)]
    # Sums over the latents, as ours: as they are.
    assert named("prolificdreamer").regularizers["sparsity"] == [(0.0, 10.0)]


@pytest.mark.parametrize("loss", [loss for name, loss, _ in PUBLISHED if name == "quick"])
def test_quick_keeps_the_method_and_costs_less(loss: str) -> None:
    quick, standard = (presets.PRESETS[name, loss, NETWORK] for name in ("quick", "standard"))
    for name in ("weighting", "timestep_min", "timestep_max", "timestep_schedule", "background"):
        assert getattr(quick, name) == getattr(standard, name), name
    # SDI's code has two forms of guidance, and its 7.5 is 8.5 of ours in the one that it has without Perp-Neg.
    moved = 1.0 if loss == "sdi" else 0.0
    assert quick.guidance_scale == standard.guidance_scale + moved
    if loss == "sdi":
        assert (quick.perp_neg, standard.perp_neg) == (0.0, 1.0)
        assert quick.loss_parameters["inversion_guidance"] == standard.loss_parameters["inversion_guidance"] + moved
    assert quick.steps * 8 <= standard.steps
    assert quick.views_per_step == 1
    assert quick.loss_parameters.keys() == standard.loss_parameters.keys()


def test_the_catalog_tells_the_sources() -> None:
    catalog = recipes.catalog()
    for info in catalog.presets:
        assert info.sources == presets.SOURCES[info.name, info.loss, info.prior]
    assert msgspec.convert(msgspec.to_builtins(catalog), Catalog) == catalog


# --- layers -----------------------------------------------------------------------------------------------------------


def test_a_value_and_its_source_stay_together() -> None:
    preset = sourced(
        steps=Sourced(3, "here"),
        guidance_interval=Sourced((0.0, 0.5), "there"),
        regularizers={"sparsity": Sourced([], "s")},
    )
    assert preset.settings == Settings(steps=3, guidance_interval=(0.0, 0.5), regularizers={"sparsity": []})
    assert preset.sources == {"steps": "here", "guidance_interval": "there", "regularizers.sparsity": "s"}
    assert entries(preset, "regularizers") == {"sparsity": Sourced([], "s")}
    with pytest.raises(TypeError, match="stepps"):
        sourced(stepps=Sourced(3, "here"))


def test_the_source_is_the_winning_layer_s_and_groups_are_replaced_whole() -> None:
    low = sourced(
        steps=Sourced(1, "low"),
        background=Sourced("grey", "low"),
        regularizers={"sparsity": Sourced([(0.0, 1.0)], "low"), "opaqueness": Sourced([(0.0, 1.0)], "low")},
    )
    high = from_one_source(Settings(steps=2, regularizers={"sparsity": [(0.0, 2.0)]}), "high")
    both = stack(low, high)
    assert both.settings == presets.layer(low.settings, high.settings)
    assert dict(both.sources) == {"steps": "high", "background": "low", "regularizers.sparsity": "high"}
    assert list(both.sources) == setting_names(both.settings)
    assert reworded(both, "after {}").sources["background"] == "after low"
    assert low.sources["steps"] == "low"


@pytest.mark.parametrize("key", [key for key in presets.PRESETS if key[1] == "dds"])
def test_nothing_but_the_prompts_difference_pulls_in_an_edit(key: tuple[str, str, str]) -> None:
    assert presets.PRESETS[key].regularizers == {}
