"""Several jobs by one click: seeds or losses of the panel's recipe, laid out in a row."""

import bpy
from limbeck_protocol.errors import LimbeckError

from .. import runtime
from ..preferences import check_network_allowed
from ..recipe.panel_form import asked_placement, recipe_from
from ..results.variants import LIMIT_VARIANTS, in_a_row, loss_variants, seed_variants
from ..results.wanted_results import troubles
from .common import blocking_property, failed, finish, may_generate, timeout_property
from .keywords import RecipeKeywords, given_fields


class LIMBECK_OT_variants(RecipeKeywords, bpy.types.Operator):
    """Hand in the panel's recipe several times, with other seeds or losses; the meshes land side by side."""

    bl_idname = "limbeck.variants"
    bl_label = "Generate Variants"
    bl_description = "Hand in the recipe several times, with other seeds or losses; the meshes land side by side"

    count: bpy.props.IntProperty(
        name="Count",
        description="How many seeds, beginning with the panel's. 0: as the panel says",
        default=0,
        min=0,
        max=LIMIT_VARIANTS,
        options={"SKIP_SAVE"},
    )
    losses: bpy.props.StringProperty(
        name="Losses",
        description="Losses with commas between them, instead of seeds. Empty: as the panel says",
        options={"SKIP_SAVE"},
    )
    blocking: blocking_property()
    timeout_s: timeout_property()

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """No job on its way, and permission to talk to a server; for the panel's button also a prompt and a rig."""
        return may_generate(cls, context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Submit all of them."""
        scene, session = context.scene, runtime.session()
        try:
            check_network_allowed()
            with given_fields(self, scene.limbeck):
                placement, recipe = asked_placement(scene), recipe_from(scene, session.catalog)
            recipes = self._variants(scene.limbeck, recipe)
            job_ids = runtime.wanted.submit(session, recipes)
        except LimbeckError as error:
            return failed(self, error)
        runtime.preview.clear()
        for job_id, variant, place in zip(job_ids, recipes, in_a_row(placement, len(recipes)), strict=True):
            runtime.remember(scene, job_id, variant.prompt, place, is_wanted=True)
        before = len(troubles())
        done = finish(self, blocking=self.blocking, timeout_s=self.timeout_s)
        if self.blocking and len(troubles()) > before:
            self.report({"WARNING"}, f"{len(troubles()) - before} of {len(recipes)} variants did not arrive")
        return done

    def _variants(self, fields, recipe):
        if self.losses or (self.count == 0 and fields.variant_kind == "LOSSES"):
            return loss_variants(recipe, (self.losses or fields.variant_losses).split(","))
        return seed_variants(recipe, self.count or fields.variant_count)


classes = (LIMBECK_OT_variants,)
