"""Rigs: put up the orbit's box, look along a camera's path, put cameras right."""

import bpy
from limbeck_protocol.errors import LimbeckError
from mathutils import Matrix, Quaternion

from ..rig import frusta_overlay
from ..rig.camera_pose import AIM, PERSPECTIVE
from ..rig.camera_rig import pose_to_object
from ..rig.orbit_box import new_orbit_box, orbit_from
from ..rig.placement import Placement
from ..rig.rig_form import orbit_from_fields, placement_from, poses_from, uses_path
from .common import unless


class LIMBECK_OT_add_orbit_box(bpy.types.Operator):
    """Mark with an Empty where the object will stand, its size, its front, and the orbit around it."""

    bl_idname = "limbeck.add_orbit_box"
    bl_label = "Add Orbit Box"
    bl_description = "Mark with an Empty where the object will stand, its size, its front, and the orbit around it"
    bl_options = {"REGISTER", "UNDO"}

    location: bpy.props.FloatVectorProperty(
        name="Location", description="Where the object's centre will lie", subtype="TRANSLATION", options={"SKIP_SAVE"}
    )
    size: bpy.props.FloatProperty(
        name="Size",
        description="Largest dimension of the object, in scene units",
        default=1.0,
        min=1e-4,
        soft_max=100.0,
        subtype="DISTANCE",
        options={"SKIP_SAVE"},
    )
    turn: bpy.props.FloatProperty(
        name="Turn", description="How far the front is turned from -Y", subtype="ANGLE", options={"SKIP_SAVE"}
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Object Mode: in others, Blender would edit another object than the new one."""
        return unless(cls, "" if context.mode == "OBJECT" else "Switch to Object Mode first")

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        """Show in the viewport what is put up."""
        frusta_overlay.show()
        return self.execute(context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Put it where the panel says, unless told otherwise; what is used is shown by the redo panel."""
        scene = context.scene
        fields = scene.limbeck
        try:
            now = _free_placement(scene)
            if not self.properties.is_property_set("location"):
                self.location = now.location
            if not self.properties.is_property_set("size"):
                self.size = now.size
            turn = Quaternion((0.0, 0.0, 1.0), self.turn)
            placement = Placement(tuple(self.location), tuple(turn), self.size)
            orbit = orbit_from_fields(scene) if fields.target is None else orbit_from({})
        except LimbeckError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        collection = context.collection if context.collection.is_editable else scene.collection
        empty = new_orbit_box(collection, placement, orbit)
        for other in context.selected_objects:
            other.select_set(False)
        if context.view_layer.objects.get(empty.name) is not None:
            empty.select_set(True)
            context.view_layer.objects.active = empty
        fields.target = empty
        if fields.rig_source == "CAMERAS":
            fields.rig_source = "BOTH"
        return {"FINISHED"}


def _free_placement(scene: bpy.types.Scene) -> Placement:
    """Return the panel's place; with a target already chosen, the 3-D cursor's, so that boxes do not coincide."""
    if scene.limbeck.target is None:
        return placement_from(scene)
    return Placement(tuple(scene.cursor.location), size=scene.limbeck.size)


class LIMBECK_OT_sample_path(bpy.types.Operator):
    """Go along the active camera's animation, and say whether all of its views can serve."""

    bl_idname = "limbeck.sample_path"
    bl_label = "Check Path"
    bl_description = "Go along the active camera's animation, and show its views; the current frame stays as it is"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """The rig is a path, and there is a camera."""
        if not uses_path(context.scene):
            return unless(cls, "Choose Camera Path first")
        return unless(cls, "" if context.scene.camera or context.scene.timeline_markers else "The scene has no camera")

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Sample it, check each view."""
        try:
            placement = placement_from(context.scene)
            poses = poses_from(context.scene)
            frusta_overlay.tag_redraw()
            for pose in poses:
                pose_to_object(pose, placement)
        except LimbeckError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        self.report({"INFO"}, f"{len(poses)} views along the path, all usable")
        return {"FINISHED"}


class LIMBECK_OT_fix_camera(bpy.types.Operator):
    """Put right what keeps a camera out of the rig."""

    bl_idname = "limbeck.fix_camera"
    bl_label = "Fix Camera"
    bl_description = "Put right what keeps this camera out of the rig"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}

    camera: bpy.props.StringProperty(name="Camera", description="Name of the camera", options={"SKIP_SAVE"})
    fix: bpy.props.EnumProperty(
        name="Fix",
        description="What is put right",
        items=[
            (PERSPECTIVE, "Make Perspective", "Set the camera's lens type to Perspective"),
            (AIM, "Aim at Object", "Turn the camera towards the object"),
        ],
        options={"SKIP_SAVE"},
    )

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Change the camera."""
        camera = context.scene.objects.get(self.camera)
        if camera is None or camera.type != "CAMERA":
            self.report({"ERROR"}, f"There is no camera '{self.camera}' in this scene; choose one that is.")
            return {"CANCELLED"}
        changed = camera.data if self.fix == PERSPECTIVE else camera
        if not changed.is_editable:
            self.report({"ERROR"}, f"'{changed.name}' is linked from another file. Change it there.")
            return {"CANCELLED"}
        try:
            if self.fix == PERSPECTIVE:
                camera.data.type = "PERSP"
            else:
                _aim(camera, placement_from(context.scene))
        except LimbeckError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return {"FINISHED"}


def _aim(camera: bpy.types.Object, placement: Placement) -> None:
    place, scale = camera.matrix_world.translation, camera.matrix_world.to_scale()
    direction = Matrix.Translation(placement.location).translation - place
    camera.matrix_world = Matrix.LocRotScale(place, direction.to_track_quat("-Z", "Y"), scale)


classes = (LIMBECK_OT_add_orbit_box, LIMBECK_OT_sample_path, LIMBECK_OT_fix_camera)
