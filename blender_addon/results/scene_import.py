"""Arrays -> an object in the scene: mesh, UV map, vertex colours, material, texture, collection, recipe.

Rules of this file: the arrays have been checked (`mesh_arrays`); either everything arrives or nothing stays behind;
identity is kept in custom properties, never in names. Main thread only; works with and without a window.
"""

from __future__ import annotations

import bpy
import numpy as np
from mathutils import Matrix

from ..rig.placement import Placement
from .data_blocks import push_undo_step, readable_name, removed_on_failure
from .mesh_arrays import MeshArrays, check_mesh_arrays, has_clean_faces
from .png import png_bytes
from .recipe_on_object import Origin, write_origin
from .result_asset import mark_as_asset, set_thumbnail

COLLECTION_NAME = "Limbeck"
COLLECTION_TAG = "limbeck_results"
UV_NAME = "UVMap"
COLOUR_NAME = "Colour"


def import_mesh(
    scene: bpy.types.Scene,
    arrays: MeshArrays,
    origin: Origin,
    placement: Placement,
    *,
    picture: np.ndarray | None = None,
    as_asset: bool = False,
    push_undo: bool = False,
) -> bpy.types.Object:
    """Return a new object in the collection *Limbeck* of `scene`, selected and active where the mode allows it.

    Args:
        scene: the scene that receives it.
        arrays: the mesh in the object's frame; one object unit becomes `placement.size` scene units.
        origin: written on the object, see `recipe_on_object`.
        placement: where the object's centre lies, how it is turned, how large one object unit is. The size goes into
            the mesh, so the object's own scale is 1.
        picture: the job's last preview, (h, w, 3) uint8, sRGB, first row on top: becomes the object's thumbnail.
        as_asset: mark the object as an asset.
        push_undo: make an undo step; wanted from timers, not from operators, which push their own.

    Raises:
        LimbeckError: the arrays break a promise of `MeshArrays`; the file is as it was before.
    """
    check_mesh_arrays(arrays)
    name = readable_name(origin.recipe.prompt)
    with removed_on_failure() as made:
        mesh = made(bpy.data.meshes, bpy.data.meshes.new(name))
        _fill_mesh(mesh, arrays, placement.size)
        image = made(bpy.data.images, bpy.data.images.new(name, 1, 1, alpha=False))
        _fill_image(image, arrays.texture)
        material = made(bpy.data.materials, bpy.data.materials.new(name))
        _build_material(material, image)
        material.diffuse_color = (*_typical_colour(arrays), 1.0)
        mesh.materials.append(material)
        result = made(bpy.data.objects, bpy.data.objects.new(name, mesh))
        result.matrix_world = placement.rotated(Matrix.Identity(4))
        write_origin(result, origin, placement.size)
        if picture is not None:
            set_thumbnail(result, picture)
        if as_asset:
            mark_as_asset(result)
        result_collection(scene).objects.link(result)
    _select(scene, result)
    if push_undo:
        push_undo_step(f"Limbeck: {name}")
    return result


def result_collection(scene: bpy.types.Scene) -> bpy.types.Collection:
    """Return the scene's collection for results, made and linked at first use, found by its tag ever after."""
    for collection in scene.collection.children_recursive:
        is_own = collection.library is None and collection.override_library is None
        if is_own and collection.get(COLLECTION_TAG):  # another file's cannot take in objects of this one
            return collection
    collection = bpy.data.collections.new(COLLECTION_NAME)
    collection[COLLECTION_TAG] = True
    scene.collection.children.link(collection)
    return collection


def _fill_mesh(mesh: bpy.types.Mesh, arrays: MeshArrays, size: float) -> None:
    """Write geometry, UVs and colours through attributes: one copy each, no Python loop.

    Blender copies a buffer at once only if it is flat, contiguous and of its own raw type; hence `_flat`.
    """
    faces = len(arrays.faces)
    mesh.vertices.add(len(arrays.vertices))
    mesh.loops.add(3 * faces)
    mesh.polygons.add(faces)
    mesh.attributes["position"].data.foreach_set("vector", _flat(arrays.vertices * np.float32(size), np.float32))
    mesh.polygons.foreach_set("loop_start", np.arange(0, 3 * faces, 3, dtype=np.int32))
    corners = mesh.attributes.get(".corner_vert") or mesh.attributes.new(".corner_vert", "INT", "CORNER")
    corners.data.foreach_set("value", _flat(arrays.faces, np.int32))
    mesh.uv_layers.new(name=UV_NAME, do_init=False)
    mesh.attributes[UV_NAME].data.foreach_set("vector", _flat(arrays.corner_uv, np.float32))
    colours = mesh.attributes.new(COLOUR_NAME, "FLOAT_COLOR", "POINT")
    rgba = np.ones((len(arrays.vertices), 4), dtype=np.float32)
    rgba[:, :3] = linear_from_srgb(arrays.vertex_colours.clip(0, 1))
    colours.data.foreach_set("color", _flat(rgba, np.float32))
    mesh.attributes.active_color_name = COLOUR_NAME
    mesh.attributes.render_color_index = mesh.attributes.active_color_index
    mesh.update(calc_edges=True)
    if not has_clean_faces(arrays):
        # Blender takes such faces out. It looks at everything else once more too, which is most of the import's time.
        mesh.validate()
    mesh.shade_smooth()


def _flat(values: np.ndarray, kind: type) -> np.ndarray:
    return np.ascontiguousarray(values, dtype=kind).reshape(-1)


def linear_from_srgb(colours: np.ndarray) -> np.ndarray:
    """Return linear light for sRGB values in 0..1 (IEC 61966-2-1); Blender's float colours are linear."""
    return np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4).astype(np.float32)


def _fill_image(image: bpy.types.Image, texture: np.ndarray) -> None:
    """Pack the texture into the file as a PNG; Blender decodes it when somebody looks."""
    content = png_bytes(texture)
    image.pack(data=content, data_len=len(content))
    image.source = "FILE"


def _build_material(material: bpy.types.Material, image: bpy.types.Image) -> None:
    if material.node_tree is None:
        material.use_nodes = True  # by hand before Blender 5.0; the switch is deprecated since
    nodes, links = material.node_tree.nodes, material.node_tree.links
    nodes.clear()
    output = nodes.new("ShaderNodeOutputMaterial")
    surface = nodes.new("ShaderNodeBsdfPrincipled")
    picture = nodes.new("ShaderNodeTexImage")
    picture.image = image
    surface.inputs["Roughness"].default_value = 0.9
    picture.location, surface.location, output.location = (-600, 0), (-300, 0), (0, 0)
    links.new(picture.outputs["Color"], surface.inputs["Base Color"])
    links.new(surface.outputs["BSDF"], output.inputs["Surface"])


def _typical_colour(arrays: MeshArrays) -> np.ndarray:
    """Return the colour that Blender's *Solid* shading shows for the material: the median of the mesh's, linear."""
    return linear_from_srgb(np.median(arrays.vertex_colours.clip(0, 1), axis=0))


def _select(scene: bpy.types.Scene, result: bpy.types.Object) -> None:
    """Select the result alone, unless somebody is editing something, or the result is hidden from the view layer."""
    view_layer = bpy.context.view_layer
    if bpy.context.scene != scene or bpy.context.mode != "OBJECT" or result.name not in view_layer.objects:
        return
    for other in list(bpy.context.selected_objects):
        other.select_set(False)
    result.select_set(True)
    view_layer.objects.active = result
