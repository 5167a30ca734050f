"""Work on results: run again, branch, compare, mark as asset, copy the recipe."""

import bpy
from limbeck_protocol.errors import LimbeckError
from limbeck_protocol.recipe import recipe_to_json

from .. import runtime
from ..preferences import check_network_allowed
from ..recipe.branch import branch_into
from ..recipe.recipe_comparison import Difference, compare_recipes, comparison_text
from ..results.image_import import active_image
from ..results.recipe_on_object import fresh_recipe, is_result, read_origin, selected_results
from ..results.result_asset import mark_as_asset
from ..results.variants import beside
from ..rig.placement import Placement
from .common import blocking_property, failed, finish, is_online, timeout_property, unless

NO_RESULT = "Select an object that Limbeck has made"


def active_result(context: bpy.types.Context) -> bpy.types.ID | None:
    """Return what a button is about: the image of the Image Editor that it stands in, else the active object."""
    return active_image(context) or context.active_object


def _is_result_active(operator: type[bpy.types.Operator], context: bpy.types.Context) -> bool:
    return unless(operator, "" if is_result(active_result(context)) else NO_RESULT)


class LIMBECK_OT_rerun(bpy.types.Operator):
    """Hand in the active result's recipe again, unchanged, as a new job; its mesh lands beside the result."""

    bl_idname = "limbeck.rerun"
    bl_label = "Re-run"
    bl_description = "Hand in this result's recipe again, unchanged, as a new job; its mesh lands beside the result"

    blocking: blocking_property()
    timeout_s: timeout_property()

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """A result is active, no job is on its way, and we may talk to a server."""
        if not is_online(cls) or not _is_result_active(cls, context):
            return False
        return unless(cls, "A job is on its way already" if runtime.session().is_busy else "")

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Submit."""
        thing = active_result(context)
        try:
            check_network_allowed()
            recipe = fresh_recipe(read_origin(thing).recipe)
            placement = beside(thing) if isinstance(thing, bpy.types.Object) else Placement()
            job_id = runtime.session().submit(recipe, fetch=True)
        except LimbeckError as error:
            return failed(self, error)
        runtime.preview.clear()
        runtime.remember(context.scene, job_id, recipe.prompt, placement)
        return finish(self, blocking=self.blocking, timeout_s=self.timeout_s)


class LIMBECK_OT_branch(bpy.types.Operator):
    """Load the active result's recipe into the panel, to change something and generate again."""

    bl_idname = "limbeck.branch"
    bl_label = "Branch with Changes"
    bl_description = "Load this result's recipe into the panel, to change something and generate again"
    bl_options = {"REGISTER", "UNDO"}

    new_seed: bpy.props.BoolProperty(name="New Seed", description="Take the next seed", default=False)

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """A result is active."""
        return _is_result_active(cls, context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Load."""
        try:
            recipe = read_origin(active_result(context)).recipe
            unsaid = branch_into(context.scene, recipe, runtime.session().catalog, new_seed=self.new_seed)
        except LimbeckError as error:
            return failed(self, error)
        if unsaid:
            self.report({"WARNING"}, "Not all of the recipe fits the panel: " + " ".join(unsaid))
        else:
            self.report({"INFO"}, "The recipe is in the panel")
        return {"FINISHED"}


class LIMBECK_OT_compare_recipes(bpy.types.Operator):
    """List the fields in which the recipes of two selected results differ; the active one is the new one."""

    bl_idname = "limbeck.compare_recipes"
    bl_label = "Compare Recipes"
    bl_description = "List the fields in which the recipes of two selected results differ; the active one counts as new"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Two results are selected."""
        is_pair = len(selected_results(context.selected_objects)) == 2
        return unless(cls, "" if is_pair else "Select two objects that Limbeck has made")

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Show them in a popup."""
        try:
            self._names, self._differences = _compare(context)
        except LimbeckError as error:
            return failed(self, error)
        return context.window_manager.invoke_popup(self, width=460)

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the popup: field, old value, new value."""
        layout = self.layout
        if not self._differences:
            layout.label(text="Both have the same recipe", icon="CHECKMARK")
            return
        grid = layout.grid_flow(row_major=True, columns=3, even_columns=False, align=True)
        for text in ("", *self._names):
            grid.label(text=text)
        for difference in self._differences:
            for text in (difference.field, difference.old, difference.new):
                grid.label(text=text)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Report them; `api.compare` returns them to scripts."""
        try:
            names, differences = _compare(context)
        except LimbeckError as error:
            return failed(self, error)
        for line in comparison_text(*names, differences).splitlines():
            self.report({"INFO"}, line)
        return {"FINISHED"}


def _compare(context: bpy.types.Context) -> tuple[tuple[str, str], list[Difference]]:
    first, second = sorted(
        selected_results(context.selected_objects), key=lambda thing: (thing == context.active_object, thing.name)
    )
    differences = compare_recipes(read_origin(first).recipe, read_origin(second).recipe)
    return (first.name, second.name), differences


class LIMBECK_OT_mark_as_asset(bpy.types.Operator):
    """Mark the selected results as assets: last preview as thumbnail, tags and description from the prompt."""

    bl_idname = "limbeck.mark_as_asset"
    bl_label = "Mark as Asset"
    bl_description = "Mark the selected results as assets: last preview as thumbnail, tags from the prompt"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """A result is active."""
        return unless(cls, "" if is_result(context.active_object) else NO_RESULT)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Mark them."""
        things = {thing.name: thing for thing in (context.active_object, *selected_results(context.selected_objects))}
        try:
            for thing in things.values():
                mark_as_asset(thing)
        except LimbeckError as error:
            return failed(self, error)
        self.report({"INFO"}, f"{len(things)} marked as asset")
        return {"FINISHED"}


class LIMBECK_OT_copy_recipe(bpy.types.Operator):
    """Copy the active result's recipe to the clipboard, as JSON."""

    bl_idname = "limbeck.copy_recipe"
    bl_label = "Copy Recipe"
    bl_description = "Copy this result's recipe to the clipboard, as JSON that a script or the command line can run"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """A result is active."""
        return _is_result_active(cls, context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Copy."""
        try:
            recipe = read_origin(active_result(context)).recipe
        except LimbeckError as error:
            return failed(self, error)
        context.window_manager.clipboard = recipe_to_json(recipe)
        self.report({"INFO"}, "The recipe is on the clipboard")
        return {"FINISHED"}


classes = (
    LIMBECK_OT_rerun,
    LIMBECK_OT_branch,
    LIMBECK_OT_compare_recipes,
    LIMBECK_OT_mark_as_asset,
    LIMBECK_OT_copy_recipe,
)
