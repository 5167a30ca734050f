"""Every operator and property has a tooltip, grey buttons say why, errors' buttons work, text fits 240 pixels."""

from __future__ import annotations

from types import SimpleNamespace

import bpy
import harness
from limbeck_protocol.errors import ErrorCode, LimbeckError, Remedy, RemedyAction
from limbeck_protocol.messages import Catalog, PriorInfo

addon = harness.load_addon()
runtime = addon.runtime
NARROW = SimpleNamespace(width=240)
OWN_PANELS = ("LIMBECK_PT_main", "LIMBECK_PT_server")
LETTERS = 26
"""What 240 pixels hold beside an icon."""


def classes() -> list[type]:
    return [cls for cls in addon._CLASSES if hasattr(cls, "bl_rna")]


def operators() -> list[tuple[type, str]]:
    """Return the operators and what Blender shows of each as its tooltip; of some it depends on their properties."""
    found = [cls for cls in classes() if issubclass(cls, bpy.types.Operator)]
    names = [cls.bl_idname.partition(".")[2] for cls in found]
    return [
        (cls, getattr(bpy.ops.limbeck, name).get_rna_type().description)
        for cls, name in zip(found, names, strict=True)
        if "description" not in vars(cls)
    ]


def everything_has_a_tooltip():
    addon.register()
    missing = [cls.__name__ for cls, tooltip in operators() if not tooltip]
    for cls in classes():
        if issubclass(cls, (bpy.types.Operator, bpy.types.PropertyGroup, bpy.types.AddonPreferences)):
            own = set().union(*(vars(base).get("__annotations__", {}) for base in cls.__mro__))
            known = getattr(bpy.types, cls.__name__, cls).bl_rna.properties
            if issubclass(cls, bpy.types.Operator):
                known = getattr(bpy.ops.limbeck, cls.bl_idname.partition(".")[2]).get_rna_type().properties
            missing += [
                f"{cls.__name__}.{prop.identifier}" for prop in known if prop.identifier in own and not prop.description
            ]
    assert not missing, missing
    assert len(operators()) > 15


def tooltips_end_as_blender_s_do():
    addon.register()
    wrong = [cls.__name__ for cls, tooltip in operators() if tooltip.strip().endswith(".")]
    assert not wrong, wrong


def grey_buttons_say_why():
    """Each poll that refuses has told a reason: seen through a class of its own that notes what it is told."""
    addon.register()
    bpy.ops.wm.read_factory_settings(use_empty=True)
    silent = []
    for cls in classes():
        if not (issubclass(cls, bpy.types.Operator) and "poll" in vars(cls)):
            continue
        told: list[str] = []
        listener = type("Listener", (), {"poll_message_set": lambda *words, told=told: told.append(words[-1])})
        if not vars(cls)["poll"].__func__(listener, bpy.context) and not told:
            silent.append(cls.__name__)
    assert not silent, silent


def every_remedy_s_button_is_an_operator_that_takes_its_keywords():
    addon.register()
    for action in RemedyAction:
        for field in (None, "prompt", "preferences.connection_line", "preferences.system.use_online_access"):
            for is_remote in (False, True):
                remedy = Remedy(action=action, label="Do it.", field=field)
                button = addon.panel_state.remedy_button(remedy, is_remote=is_remote)
                module, name = button.operator.split(".")
                known = getattr(getattr(bpy.ops, module), name).get_rna_type()
                assert known.description
                assert set(button.keywords) <= set(known.properties.keys()), button
                icons = bpy.types.UILayout.bl_rna.functions["operator"].parameters["icon"].enum_items
                assert button.icon in icons, button


def lowering_the_resolution_halves_it_until_it_cannot():
    addon.register()
    fields = bpy.context.scene.limbeck
    session = runtime.session()
    fields.override_render_size, fields.render_size = True, 64
    session.error = LimbeckError(ErrorCode.OUT_OF_MEMORY, "There is no room.")
    assert bpy.ops.limbeck.lower_resolution() == {"FINISHED"}
    assert (fields.override_render_size, fields.render_size) == (True, 32)
    assert fields.override_field_resolution
    assert session.error is None
    for _ in range(20):
        if fields.render_size == 16 and fields.field_resolution == 8:
            break
        assert bpy.ops.limbeck.lower_resolution() == {"FINISHED"}
    assert "as low as they go" in str(harness.error_of(lambda: bpy.ops.limbeck.lower_resolution(), RuntimeError))


def a_prior_that_is_installed_is_chosen():
    addon.register()
    session = runtime.session()
    assert not bpy.ops.limbeck.choose_prior.poll()
    priors = [
        PriorInfo(name=name, title=name, description="", installed=name != "big") for name in ("big", "exact", "small")
    ]
    session.catalog = Catalog(losses=[], priors=priors, presets=[])
    bpy.context.scene.limbeck.prior = "big"
    assert bpy.ops.limbeck.choose_prior() == {"FINISHED"}
    assert bpy.context.scene.limbeck.prior == "exact"
    assert bpy.ops.limbeck.choose_prior(prior="small") == {"FINISHED"}
    assert bpy.context.scene.limbeck.prior == "small"
    assert "not installed" in str(harness.error_of(lambda: bpy.ops.limbeck.choose_prior(prior="big"), RuntimeError))


def a_field_that_an_error_names_is_found_in_the_panel():
    addon.register()
    fields = bpy.context.scene.limbeck
    named = addon.operators.remedies.panel_fields
    assert named(fields, "prompt") == ["prompt"]
    assert named(fields, "recipe.negative_prompt") == ["negative_prompt"]
    assert named(fields, "settings.render_size") == ["override_render_size", "render_size"]
    assert named(fields, "rig.cameras.lens")
    assert named(fields, "no.such.thing") == []
    runtime.session().error = LimbeckError(ErrorCode.UNKNOWN_WORD, "The word is not known.")
    assert bpy.ops.limbeck.edit_field(field="prompt") == {"FINISHED"}
    assert runtime.session().error is None
    assert not bpy.ops.limbeck.dismiss_error.poll()


class Labels:
    """A layout that notes the text of its labels."""

    def __init__(self, texts: list[str]) -> None:
        object.__setattr__(self, "texts", texts)

    def __setattr__(self, name: str, value: object) -> None:
        assert name in bpy.types.UILayout.bl_rna.properties, name

    def __getattr__(self, name: str):
        def call(*arguments, **named):
            if name == "label":
                self.texts.append(named.get("text", ""))
            return SimpleNamespace() if name == "operator" else Labels(self.texts)

        return call


def sentences_fit_a_sidebar_of_240_pixels():
    addon.register()
    session = runtime.session()
    long_path = "/a/very/long/path/without/any/blank/in/it/that/goes/on/and/on/server.log"
    runtime.tools().notice = f"Found Limbeck at {long_path}"
    finding = addon.connection.server_tools.Finding(
        "torch", is_ok=False, is_needed=True, text=long_path, remedy="Get it."
    )
    runtime.tools().findings = (finding,)
    for code in (*ErrorCode, None):
        session.error = LimbeckError(code, f"Something went wrong with {long_path}.") if code else None
        texts: list[str] = []
        for panel in addon.panels.classes:
            if panel.__name__ in OWN_PANELS:
                context = SimpleNamespace(scene=bpy.context.scene, region=NARROW)
                panel.draw(SimpleNamespace(layout=Labels(texts)), context)
        assert texts
        too_long = [text for text in texts if len(text) > LETTERS]
        assert not too_long, too_long
        assert code is None or "Something went wrong" in " ".join(texts)


harness.main(
    everything_has_a_tooltip,
    tooltips_end_as_blender_s_do,
    grey_buttons_say_why,
    every_remedy_s_button_is_an_operator_that_takes_its_keywords,
    lowering_the_resolution_halves_it_until_it_cannot,
    a_prior_that_is_installed_is_chosen,
    a_field_that_an_error_names_is_found_in_the_panel,
    sentences_fit_a_sidebar_of_240_pixels,
)
