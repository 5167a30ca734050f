"""A layout that draws nothing, accepts only what Blender's own would, and remembers what it was told."""

from __future__ import annotations

from types import SimpleNamespace

import bpy


class Recorder:
    """Everything that was drawn stands in `seen`, one line each: a field with its value, an operator with its text."""

    functions = bpy.types.UILayout.bl_rna.functions
    properties = bpy.types.UILayout.bl_rna.properties

    def __init__(self, seen: list[str]) -> None:
        object.__setattr__(self, "seen", seen)

    def __setattr__(self, name: str, value: object) -> None:
        assert name in self.properties, name

    def __getattr__(self, name: str):
        function = self.functions[name]

        def call(*arguments, **named):
            for key, value in named.items():
                assert key in function.parameters, (name, key)
                if key == "icon":
                    assert value in function.parameters["icon"].enum_items, value
            told = [str(value) for key, value in named.items() if key != "icon"]
            if name == "prop":
                assert arguments[1] in arguments[0].bl_rna.properties, arguments
                self.seen.append(f"prop {arguments[1]} = {getattr(arguments[0], arguments[1])}")
                return None
            self.seen.append(" ".join([name, *map(str, arguments), *told]))
            if name == "operator":
                module, operator = arguments[0].split(".")
                return Settable(getattr(getattr(bpy.ops, module), operator).get_rna_type().properties, self.seen)
            if name == "menu":
                assert hasattr(bpy.types, arguments[0]), arguments
            if name == "panel":
                return Recorder(self.seen), Recorder(self.seen)
            return Recorder(self.seen)

        return call


class Settable:
    """An operator's properties: only known ones can be set."""

    def __init__(self, known, seen: list[str]) -> None:
        object.__setattr__(self, "known", known)
        object.__setattr__(self, "seen", seen)

    def __setattr__(self, name: str, value: object) -> None:
        assert name in self.known, name
        self.seen[-1] += f" {name}={value}"


def drawn(panel: type) -> str:
    """Return what a panel or a menu draws, a line for each call."""
    seen: list[str] = []
    panel.draw(SimpleNamespace(layout=Recorder(seen), kind=getattr(panel, "kind", "")), bpy.context)
    return "\n".join(seen)


def sentences(text: str) -> str:
    """Return the drawn labels as one running text: sentences are cut to the sidebar's width."""
    return " ".join(line.removeprefix("label ") for line in text.split("\n") if line.startswith("label "))
