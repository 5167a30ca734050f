"""Set the server up: find its program, examine it, exchange keys with a server elsewhere, open the preferences."""

import sys

import bpy
from limbeck_protocol.discovery import client_keys_path, create_or_load_keys, key_as_hex, parse_connection_line
from limbeck_protocol.errors import LimbeckError

from .. import preferences, runtime
from ..connection.server_finder import candidates
from .common import blocking_property, failed, finish, unless


class LIMBECK_OT_find_server(bpy.types.Operator):
    """Look for Limbeck's server program at the usual places, and keep what is found in the preferences."""

    bl_idname = "limbeck.find_server"
    bl_label = "Find"
    bl_description = (
        "Look for Limbeck's server program: on the path, in pipx, uv and virtual environments, and in the folder that "
        "the preferences name"
    )

    blocking: blocking_property()

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """No search is under way."""
        return unless(cls, "A search is under way" if runtime.tools().is_searching else "")

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Begin the search; the timer follows it."""
        page = preferences.current()
        try:
            chosen = preferences.python_command(page.python_command) if page.python_command else ()
        except LimbeckError:
            chosen = ()  # what cannot be read is about to be replaced
        own = (sys.executable, *bpy.app.python_args)
        folder = bpy.path.abspath(page.search_folder) if page.search_folder else ""
        runtime.session().error = None
        runtime.tools().find(candidates(chosen=chosen, own_python=own, folder=folder))
        return finish(self, blocking=self.blocking)


class LIMBECK_OT_run_doctor(bpy.types.Operator):
    """Let the server's program examine itself and this computer: what is there, what is missing, how to get it."""

    bl_idname = "limbeck.run_doctor"
    bl_label = "Examine"
    bl_description = "Let the server's program say what is installed, what is missing and how to get it"

    blocking: blocking_property()

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """The server is to be on this computer, and no examination is under way."""
        if preferences.current().server_mode != "LOCAL":
            return unless(cls, "The chosen server is on another computer; run 'limbeck doctor' there")
        return unless(cls, "An examination is under way" if runtime.tools().is_examining else "")

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Begin it; the timer follows."""
        try:
            command = preferences.server_choice().command
        except LimbeckError as error:
            return failed(self, error)
        runtime.tools().examine(command)
        return finish(self, blocking=self.blocking, timeout_s=150.0)


class LIMBECK_OT_copy_key(bpy.types.Operator):
    """Copy this user's public key, for the owner of a server to allow; it is no secret."""

    bl_idname = "limbeck.copy_key"
    bl_label = "Copy My Key"
    bl_description = "Copy your public key (no secret), for the server's owner to allow: limbeck keys allow NAME KEY"

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Put it on the clipboard; the first call makes the key pair."""
        try:
            key = key_as_hex(create_or_load_keys(client_keys_path()).public_key)
        except LimbeckError as error:
            return failed(self, error)
        context.window_manager.clipboard = key
        self.report({"INFO"}, f"Copied. On the server's computer: limbeck keys allow NAME {key}")
        return {"FINISHED"}


class LIMBECK_OT_paste_line(bpy.types.Operator):
    """Connect to a server on another computer, by the one line that it prints."""

    bl_idname = "limbeck.paste_line"
    bl_label = "Paste Server's Line"
    bl_description = "Connect to a server on another computer: copy the line that it prints, limbeck://..., then press"

    line: bpy.props.StringProperty(
        name="Line",
        description="limbeck://HOST:PORT#KEY, as the server prints it. Empty: what is on the clipboard",
        options={"SKIP_SAVE"},
    )
    blocking: blocking_property()

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """No job is on its way."""
        return unless(cls, "A job is on its way; cancel it first" if runtime.session().is_busy else "")

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Keep the line, and connect if Blender lets us."""
        line = "".join((self.line or context.window_manager.clipboard).split())
        try:
            parse_connection_line(line)
            preferences.change(connection_line=line, server_mode="REMOTE")
            preferences.check_network_allowed()
            runtime.session().connect(start=False)
        except LimbeckError as error:
            return failed(self, error)
        return finish(self, blocking=self.blocking)


class LIMBECK_OT_open_preferences(bpy.types.Operator):
    """Open Blender's preferences where the next step is to be taken."""

    bl_idname = "limbeck.open_preferences"
    bl_label = "Open Preferences"
    bl_description = "Open Blender's preferences where the next step is to be taken"

    page: bpy.props.EnumProperty(
        name="Page",
        description="Which page of the preferences",
        items=[
            ("ADDON", "Limbeck", "The page of this extension"),
            ("SYSTEM", "System", "Where Allow Online Access is"),
            ("EXTENSIONS", "Get Extensions", "Where extensions are updated"),
        ],
        default="ADDON",
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """There is a window."""
        return unless(cls, "Without a window there are no preferences to show" if bpy.app.background else "")

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Open them."""
        if self.page == "ADDON":
            bpy.ops.preferences.addon_show(module=preferences.__package__)
        else:
            bpy.ops.screen.userpref_show(section=self.page)
        return {"FINISHED"}


classes = (
    LIMBECK_OT_find_server,
    LIMBECK_OT_run_doctor,
    LIMBECK_OT_copy_key,
    LIMBECK_OT_paste_line,
    LIMBECK_OT_open_preferences,
)
