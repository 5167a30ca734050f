"""The add-on's page in Blender's preferences, and what it says: which server, and may we use the network to reach it?

A server on this computer (loopback) is reached whatever Blender's *Allow Online Access* says; any other address only
while it is on (decision 0009).
"""

from __future__ import annotations

import ipaddress
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import bpy
from limbeck_protocol.discovery import parse_connection_line
from limbeck_protocol.errors import ErrorCode, LimbeckError, Remedy, RemedyAction

from .connection.server_search import ServerChoice
from .preference_fields import LINE_FIELD, ONLINE_ACCESS_FIELD, PROGRAM_FIELD

when_server_changes: list[Callable[[], None]] = []
"""Called when another server is chosen; `runtime` puts itself here."""


def _on_choice(_preferences, _context) -> None:
    """Another server is chosen: what was learnt from the old one does not hold."""
    for tell in when_server_changes:
        tell()


class LIMBECK_preferences(bpy.types.AddonPreferences):
    """Where the server is and how to start it."""

    bl_idname = __package__

    server_mode: bpy.props.EnumProperty(
        name="Server",
        description="Which server this Blender talks to",
        items=[
            ("LOCAL", "This Computer", "Find the server on this computer, or start it"),
            ("REMOTE", "Another Computer", "Connect to a server whose line was pasted here"),
        ],
        default="LOCAL",
        update=_on_choice,
    )
    python_command: bpy.props.StringProperty(
        name="Program",
        description="The command limbeck, or a Python in which Limbeck's server is installed. "
        "Empty: the Python that runs Blender",
        default="",
    )
    search_folder: bpy.props.StringProperty(
        name="Also Look In",
        description="Folder of a virtual environment, or of a project that holds one, for Find to look in",
        subtype="DIR_PATH",
        default="",
    )
    connection_line: bpy.props.StringProperty(
        name="Server's Line",
        description="The line that the server prints on the other computer: limbeck://HOST:PORT#KEY",
        default="",
        update=_on_choice,
    )

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the page."""
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.prop(self, "server_mode")
        if self.server_mode == "LOCAL":
            layout.prop(self, "python_command")
            layout.prop(self, "search_folder")
            layout.operator("limbeck.find_server", icon="VIEWZOOM")
        else:
            layout.prop(self, "connection_line")
            row = layout.row(align=True)
            row.operator("limbeck.paste_line", icon="PASTEDOWN")
            row.operator("limbeck.copy_key", icon="COPYDOWN")


_unsaved = SimpleNamespace(server_mode="LOCAL", python_command="", search_folder="", connection_line="")
"""Stands in where the add-on was imported without being installed: then Blender keeps no preferences for it."""


def current() -> LIMBECK_preferences | SimpleNamespace:
    """Return the add-on's preferences; all their fields can be read and set."""
    addon = bpy.context.preferences.addons.get(__package__)
    return addon.preferences if addon is not None and addon.preferences is not None else _unsaved


def change(**fields: str) -> None:
    """Set fields of the preferences, and have Blender save them."""
    page = current()
    changed = {name: value for name, value in fields.items() if getattr(page, name) != value}
    for name, value in changed.items():
        setattr(page, name, value)
    if page is not _unsaved:
        bpy.context.preferences.is_dirty = True
    elif changed.keys() & {"server_mode", "connection_line"}:
        _on_choice(page, None)


def server_choice() -> ServerChoice:
    """Return which server the preferences name; their defaults where the add-on was imported without being installed.

    Raises:
        LimbeckError: the program cannot be read, or the line is none.
    """
    page = current()
    if page.server_mode == "LOCAL":
        return ServerChoice(command=python_command(page.python_command))
    return ServerChoice(remote=_remote(page.connection_line))


def _remote(line: str) -> tuple[str, str]:
    try:
        return parse_connection_line(line)
    except LimbeckError as error:
        label = "Copy the whole line from the server and paste it."
        remedy = Remedy(action=RemedyAction.EDIT_FIELD, label=label, field=LINE_FIELD)
        sentence = error.message if line.strip() else "The line of the server on the other computer is missing."
        raise LimbeckError(ErrorCode.INVALID_FIELD, sentence, remedy) from error


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
        label = "Correct it in the add-on's preferences."
        remedy = Remedy(action=RemedyAction.EDIT_FIELD, label=label, field=PROGRAM_FIELD)
        sentence = f"The Python command cannot be read: {str(error).lower()}."
        raise LimbeckError(ErrorCode.INVALID_FIELD, sentence, remedy) from error


# --- may we use the network? ------------------------------------------------------------------------------------------


def remote_endpoint() -> str | None:
    """Return the address of the chosen server if it is not this computer's own; None, too, while no line is there."""
    page = current()
    if page.server_mode == "LOCAL":
        return None
    try:
        return parse_connection_line(page.connection_line)[0]
    except LimbeckError:
        return None


def is_loopback(endpoint: str) -> bool:
    """Return whether an address such as `tcp://127.0.0.1:41234` never leaves this computer; a name does, in doubt."""
    host = endpoint.removeprefix("tcp://").rpartition(":")[0].strip("[]")
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_attended() -> bool:
    """Return whether somebody sits before this Blender who could be asked to allow the network."""
    return not bpy.app.background


def may_use_network(endpoint: str | None) -> bool:
    """Return whether Blender allows us to talk to this address; None stands for this computer.

    In the background nobody can be asked and the factory's setting is *off*: there the script that calls us is the
    permission, unless Blender was started with `--offline-mode`.
    """
    if endpoint is None or is_loopback(endpoint) or bpy.app.online_access:
        return True
    return not is_attended() and not bpy.app.online_access_override


def network_allowed() -> bool:
    """Return whether we may talk to the server that the preferences name."""
    return may_use_network(remote_endpoint())


def check_network_allowed(endpoint: str | None = None) -> None:
    """Return nothing, or raise.

    Args:
        endpoint: where to; by default the server that the preferences name.

    Raises:
        LimbeckError: Blender's online access is switched off, and the address is another computer's.
    """
    endpoint = endpoint or remote_endpoint()
    if may_use_network(endpoint):
        return
    if bpy.app.online_access_override:
        label = "Start Blender again without --offline-mode, or choose the server on this computer."
    else:
        label = "Switch on Allow Online Access in Preferences > System."
    remedy = Remedy(action=RemedyAction.EDIT_FIELD, label=label, field=ONLINE_ACCESS_FIELD)
    host = (endpoint or "").removeprefix("tcp://")
    sentence = f"Blender's online access is off, and the server at {host} is not on this computer."
    raise LimbeckError(ErrorCode.NO_SERVER, sentence, remedy)


classes = (LIMBECK_preferences,)
