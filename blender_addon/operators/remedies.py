"""What the buttons beside an error do: the protocol's remedies, each as an operator that works from scripts too."""

import bpy
from limbeck_protocol.discovery import find_folders
from limbeck_protocol.errors import LimbeckError
from limbeck_protocol.job_states import JobState

from .. import job_list, preferences, runtime
from ..connection.server_log import log_path, tail
from ..panels.sidebar import wrap
from ..recipe.panel_form import placement_from
from ..recipe.picture_form import makes_image, preset_field
from ..results.submitted_jobs import destination
from ..rig.placement import Placement
from .common import blocking_property, failed, finish, is_free, job_property, timeout_property, unless

_LOWERED = ("render_size", "field_resolution")
_DIALOG_PX = 420
_LETTERS = 64


class LIMBECK_OT_edit_field(bpy.types.Operator):
    """Show the field that an error names, to be corrected in place."""

    bl_idname = "limbeck.edit_field"
    bl_label = "Correct"
    bl_description = "Show the field that the error names, to be corrected in place"
    bl_options = {"REGISTER", "UNDO"}

    field: bpy.props.StringProperty(
        name="Field", description="Dotted name of the recipe's field, as the error gives it", options={"SKIP_SAVE"}
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Open the field in a dialog."""
        return context.window_manager.invoke_props_dialog(self, width=_DIALOG_PX, title="Correct", confirm_text="Done")

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the sentence and the field."""
        error = runtime.session().error
        for line in wrap(str(error) if error else "", _LETTERS):
            self.layout.label(text=line)
        fields = context.scene.limbeck
        for name in panel_fields(fields, self.field):
            self.layout.prop(fields, name)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Take the error away: whether the field is right now shows with the next try."""
        runtime.session().dismiss_error()
        return {"FINISHED"}


class LIMBECK_OT_choose_prior(bpy.types.Operator):
    """Take a prior that is installed on the server."""

    bl_idname = "limbeck.choose_prior"
    bl_label = "Choose a Prior"
    bl_description = "Take a prior that is installed on the server"
    bl_options = {"REGISTER", "UNDO"}

    prior: bpy.props.StringProperty(
        name="Prior", description="Its name. Empty: the first one that is installed", options={"SKIP_SAVE"}
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """The server has told what it has."""
        return unless(cls, "" if installed_priors() else "Connect to the server first: it knows which are installed")

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Offer them, unless one is named or there is no choice."""
        priors = installed_priors()
        if self.prior or len(priors) == 1:
            return self.execute(context)

        def draw(menu: bpy.types.Menu, _context: bpy.types.Context) -> None:
            for prior in priors:
                menu.layout.operator(self.bl_idname, text=prior.title).prior = prior.name

        context.window_manager.popup_menu(draw, title="Installed Priors", icon="PRESET")
        return {"FINISHED"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Write it into the panel."""
        names = [prior.name for prior in installed_priors()]
        chosen = self.prior or names[0]
        if chosen not in names:
            self.report({"ERROR"}, f"The prior '{chosen}' is not installed; choose one of: {', '.join(names)}.")
            return {"CANCELLED"}
        context.scene.limbeck.prior = chosen
        runtime.session().dismiss_error()
        self.report({"INFO"}, f"The prior is '{chosen}' now.")
        return {"FINISHED"}


class LIMBECK_OT_lower_resolution(bpy.types.Operator):
    """Halve the size of the rendered pictures and of the field, or of the picture, so that they need less memory."""

    bl_idname = "limbeck.lower_resolution"
    bl_label = "Lower the Resolution"
    bl_description = "Halve the size of the rendered pictures and the field's resolution, so that they need less memory"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Halve what can be halved, from what the panel or else the preset says."""
        fields = context.scene.limbeck
        lowered = _halve_image_size(fields) if makes_image(fields) else _halve_overrides(fields)
        if not lowered:
            self.report({"ERROR"}, "They are as low as they go; choose another preset, prior or device.")
            return {"CANCELLED"}
        runtime.session().dismiss_error()
        self.report({"INFO"}, f"Lowered: {', '.join(lowered)}.")
        return {"FINISHED"}


class LIMBECK_OT_retry(bpy.types.Operator):
    """Do again what failed: run the same recipe, fetch the mesh again, or connect again."""

    bl_idname = "limbeck.retry"
    bl_label = "Try Again"
    bl_description = "Do again what failed: run the same recipe, fetch the mesh again, or connect again"

    job_id: job_property()
    blocking: blocking_property()
    timeout_s: timeout_property()

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """No job on its way, and permission to talk to the server."""
        return is_free(cls)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Find out what failed, and do that."""
        session = runtime.session()
        followed = session.followed
        info = job_list.job_by_id(session, self.job_id) if self.job_id else followed.info if followed else None
        is_followed = followed is not None and info is not None and followed.job_id == info.job_id
        try:
            preferences.check_network_allowed()
            is_other = info is not None and not is_followed
            if (session.is_unfinished and not is_other) or info is None or not session.is_connected:
                session.connect(start=False)
            elif info.state is JobState.SUCCEEDED:
                session.follow(info.job_id, fetch=True)
            else:
                found = destination(info.job_id)
                if found is None:
                    found = context.scene, Placement() if info.recipe.image else placement_from(context.scene)
                scene, placement = found
                fetch = followed.wants_result if is_followed else scene.limbeck.import_when_done
                job_id = session.submit(info.recipe, fetch=fetch)
                runtime.remember(scene, job_id, info.recipe.prompt, placement)
        except LimbeckError as error:
            return failed(self, error)
        return finish(self, blocking=self.blocking, timeout_s=self.timeout_s)


class LIMBECK_OT_show_log(bpy.types.Operator):
    """Show the last lines of the log; Copy puts them on the clipboard, for a report."""

    bl_idname = "limbeck.show_log"
    bl_label = "Copy Log"
    bl_description = "Show the last lines of the server's log, or of the failed job's; Copy puts them on the clipboard"

    job_id: job_property()

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """The server is this computer's."""
        is_local = preferences.current().server_mode == "LOCAL"
        return unless(cls, "" if is_local else "The log is on the other computer, in the server's data folder")

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Open it in a dialog."""
        self._lines = tail(_log_of_error(self.job_id))
        return context.window_manager.invoke_props_dialog(self, width=720, title="Log", confirm_text="Copy")

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the lines."""
        column = self.layout.column(align=True)
        for line in self._lines[-30:]:
            column.label(text=line)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Copy the last lines."""
        path = _log_of_error(self.job_id)
        context.window_manager.clipboard = "\n".join(tail(path))
        self.report({"INFO"}, f"Copied the last lines of {path}")
        return {"FINISHED"}


class LIMBECK_OT_open_data_folder(bpy.types.Operator):
    """Show the folder in which the server on this computer keeps its jobs, in the system's file browser."""

    bl_idname = "limbeck.open_data_folder"
    bl_label = "Show the Folder"
    bl_description = "Show the folder in which the server on this computer keeps its jobs"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """The folder is this computer's, and there is a desktop to show it."""
        if preferences.current().server_mode != "LOCAL":
            return unless(cls, "The folder is on the other computer")
        return unless(cls, "Without a window there is nothing to show it in" if bpy.app.background else "")

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Open it; where the desktop cannot, say where it is."""
        folder = find_folders().data
        try:
            bpy.ops.wm.path_open(filepath=str(folder))
        except RuntimeError as error:
            self.report({"WARNING"}, f"The folder is {folder}; it could not be opened: {error}")
        return {"FINISHED"}


class LIMBECK_OT_dismiss_error(bpy.types.Operator):
    """Take the error away; nothing else changes."""

    bl_idname = "limbeck.dismiss_error"
    bl_label = "Dismiss"
    bl_description = "Take the error away; nothing else changes"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """There is one."""
        return unless(cls, "" if runtime.session().error else "There is no error")

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Take it away."""
        runtime.session().dismiss_error()
        return {"FINISHED"}


def panel_fields(fields: bpy.types.PropertyGroup, dotted: str) -> list[str]:
    """Return which of the panel's properties belong to a recipe's field: its own, and the tick that overrides it."""
    parts = dotted.split(".")
    known = fields.bl_rna.properties
    if "image" in parts:
        return [name for name in (f"image_{parts[-1]}", "makes") if name in known][:1]
    if parts[-1] == "preset":
        return [preset_field(fields)]
    names = [name for part in reversed(parts) for name in (f"override_{part}", part) if name in known]
    if not names and "rig" in parts:
        names = ["rig_source"]
    return names


def _halve_overrides(fields: bpy.types.PropertyGroup) -> list[str]:
    lowered = []
    for name in _LOWERED:
        least = fields.bl_rna.properties[name].hard_min
        setattr(fields, f"override_{name}", True)
        before = getattr(fields, name)
        after = max(int(least), before // 2)
        if after < before:
            setattr(fields, name, after)
            lowered.append(f"{name.replace('_', ' ')} {before} -> {after}")
    return lowered


def _halve_image_size(fields: bpy.types.PropertyGroup) -> list[str]:
    """Halve a picture's size, unless it is the prior's own; latents have no other."""
    before = fields.image_size
    if before and fields.image_generator != "LATENTS":
        fields.image_size = before // 2
    return [f"image size {before} -> {fields.image_size}"] if fields.image_size != before else []


def installed_priors() -> list:
    """Return the catalog's priors that are there; none before a server has answered."""
    catalog = runtime.session().catalog
    return [prior for prior in catalog.priors if prior.installed] if catalog else []


def _log_of_error(job_id: str):
    if job_id:
        return log_path(job_id)
    job = runtime.session().followed
    has_failed = job is not None and job.info is not None and job.info.state is JobState.FAILED
    return log_path(job.job_id if has_failed else None)


classes = (
    LIMBECK_OT_edit_field,
    LIMBECK_OT_choose_prior,
    LIMBECK_OT_lower_resolution,
    LIMBECK_OT_retry,
    LIMBECK_OT_show_log,
    LIMBECK_OT_open_data_folder,
    LIMBECK_OT_dismiss_error,
)
