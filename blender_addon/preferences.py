"""The add-on's page in Blender's preferences, and the one question asked of Blender's own: may we use the network?"""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import bpy
from limbeck_protocol.errors import ErrorCode, LimbeckError, Remedy, RemedyAction

ONLINE_ACCESS_FIELD = "preferences.system.use_online_access"


class LIMBECK_preferences(bpy.types.AddonPreferences):
    """Where the server is and how to start it."""

    bl_idname = __package__

    server_mode: bpy.props.EnumProperty(
        name="Server",
        description="Which server this Blender talks to",
        items=[("LOCAL", "This Computer", "Find the server on this computer, or start it")],
        default="LOCAL",
    )
    python_command: bpy.props.StringProperty(
        name="Python Command",
        description="Python in which Limbeck's server is installed. Empty: the Python that runs Blender",
        default="",
    )

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the page."""
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.prop(self, "server_mode")
        layout.prop(self, "python_command")
        if not self.python_command:
            layout.label(text="Name the Python of the environment that holds limbeck-server", icon="INFO")


@dataclass(frozen=True)
class ServerChoice:
    """How to reach a server: on this computer, started by `command` (program and arguments) where none runs."""

    command: tuple[str, ...]


def server_choice() -> ServerChoice:
    """Return what the preferences say; their defaults where the add-on was imported without being installed."""
    addon = bpy.context.preferences.addons.get(__package__)
    return ServerChoice(command=python_command(addon.preferences.python_command if addon else ""))


def python_command(text: str) -> tuple[str, ...]:
    """Return a Python command as program and arguments; a text that names an existing file is taken whole.

    Raises:
        LimbeckError: the text has unbalanced quotes.
    """
    text = text.strip()
    if not text:
        return (sys.executable,)
    if Path(text).expanduser().is_file():
        return (str(Path(text).expanduser()),)
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        remedy = Remedy(action=RemedyAction.EDIT_FIELD, label="Correct it in the add-on's preferences.")
        sentence = f"The Python command cannot be read: {str(error).lower()}."
        raise LimbeckError(ErrorCode.INVALID_FIELD, sentence, remedy) from error


def network_allowed() -> bool:
    """Return whether Blender allows us to talk to a server; one on this computer counts too.

    In the background nobody can be asked and the factory's setting is *off*: there the script that calls us is the
    permission, unless Blender was started with `--offline-mode`.
    """
    if bpy.app.online_access:
        return True
    return bpy.app.background and not bpy.app.online_access_override


def check_network_allowed() -> None:
    """Return nothing, or raise.

    Raises:
        LimbeckError: Blender's online access is switched off.
    """
    if network_allowed():
        return
    if bpy.app.online_access_override:
        label = "Start Blender again without --offline-mode."
    else:
        label = "Switch on Allow Online Access in Preferences > System."
    remedy = Remedy(action=RemedyAction.EDIT_FIELD, label=label, field=ONLINE_ACCESS_FIELD)
    sentence = "Blender's online access is off, and talking to a server counts, even to one on this computer."
    raise LimbeckError(ErrorCode.NO_SERVER, sentence, remedy)


classes = (LIMBECK_preferences,)
