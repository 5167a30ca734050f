from dataclasses import replace

import numpy as np
import pytest
from limbeck_server.meshing.mesh import NoSurfaceError, check_mesh, mesh_digest
from limbeck_server.meshing.pipeline import build_mesh
from limbeck_server.meshing.preparation import LevelViews, MeshSettings, find_surface, surface_at_level
from limbeck_server.meshing.texture import sample_texture

SMALL = MeshSettings(resolution=56, face_budget=3000, texture_size=256, level_samples=64, component_share=0.05)


def views_of(distance, count: int = 4, size: int = 48) -> LevelViews:
    """What parallel cameras around Z see of a solid: opaque where the ray comes below the surface."""
    ticks = (np.arange(size) + 0.5) / size * 1.6 - 0.8
    up, side = np.meshgrid(-ticks, ticks, indexing="ij")
    origins, directions, opacity = [], [], []
    depth = np.linspace(0.5, 3.5, 300)
    for azimuth in np.arange(count) / count * 2 * np.pi:
        forward = np.array([np.cos(azimuth), np.sin(azimuth), 0.0])
        right = np.array([forward[1], -forward[0], 0.0])
        start = side[..., None] * right + up[..., None] * np.array([0.0, 0.0, 1.0]) - 2.0 * forward
        along = np.broadcast_to(forward, start.shape)
        points = start[..., None, :] + depth[:, None] * forward
        nearest = distance(points.reshape(-1, 3)).reshape(size, size, -1).min(axis=-1)
        origins.append(start)
        directions.append(along)
        opacity.append((nearest < 0).astype(np.float32))
    return LevelViews(np.stack(opacity), np.stack(origins), np.stack(directions))


@pytest.fixture(scope="module")
def duck(fields):
    """A body, a head and a speck of dust."""
    body = fields.union(fields.ball(0.4), fields.ball(0.2, (0.0, -0.3, 0.4)))
    return body, fields.union(body, fields.ball(0.08, (0.38, 0.38, -0.3)))


def test_a_field_becomes_a_textured_watertight_mesh_with_a_report(duck, fields):
    body, with_dust = duck
    stages = []
    surface = surface_at_level(fields.solid(with_dust, 60.0), views_of(body), SMALL)
    mesh, report = build_mesh(surface, fields.rainbow, SMALL, lambda *step: stages.append(step))
    check_mesh(mesh)
    assert report.watertight
    assert report.euler_number == 2
    assert (report.components_found, report.components_dropped, report.inner_shells_dropped) == (2, 1, 0)
    assert report.faces == len(mesh.faces) <= 3000 < report.faces_before_decimation
    assert report.texture_size == 256 == mesh.texture.shape[0]
    assert report.silhouette_iou > 0.95
    assert report.notes == ()
    assert np.abs(body(mesh.vertices.astype(np.float64))).mean() < 0.02
    centres = mesh.vertices[mesh.faces].mean(axis=1)
    error = np.abs(sample_texture(mesh.texture, mesh.corner_uv.mean(axis=1)) - fields.rainbow(centres))
    assert error.mean() < 0.03  # gathered a little below the surface, where the rainbow goes on
    assert np.abs(mesh.vertex_colours - fields.rainbow(mesh.vertices)).mean() < 0.03
    assert [phase for phase, _ in stages] == sorted(phase for phase, _ in stages)
    assert {phase for phase, _ in stages} == {"mesh", "texture"}
    for name in ("mesh", "texture"):
        shares = [share for phase, share in stages if phase == name]
        assert shares == sorted(shares)
        assert shares[-1] == 1.0


def test_the_same_field_gives_the_same_mesh(duck, fields):
    body, with_dust = duck
    surfaces = [find_surface(fields.solid(with_dust, 60.0), views_of(body), SMALL) for _ in range(2)]
    digests = {mesh_digest(build_mesh(surface, fields.rainbow, SMALL)[0]) for surface in surfaces}
    assert len(digests) == 1


def test_a_fixed_level_needs_no_views_and_is_kept(fields):
    settings = MeshSettings(resolution=32, density_level=7.0, texture_size=0)
    ball = fields.solid(fields.ball(0.4))
    mesh, report = build_mesh(surface_at_level(ball, None, settings), fields.rainbow, settings)
    assert report.level == 7.0
    assert report.silhouette_iou is None
    assert report.texture_size == 0
    assert mesh.texture is None
    assert mesh.corner_uv is None
    with_views = surface_at_level(ball, views_of(fields.ball(0.4)), settings)
    assert with_views.level == 7.0
    assert with_views.silhouette_iou > 0.9


def test_the_surfaces_field_crosses_the_level_at_the_meshs_vertices(duck, fields):
    settings = MeshSettings(resolution=56, texture_size=0)
    surface = find_surface(fields.solid(duck[0], 60.0), views_of(duck[0]), settings)
    mesh, report = build_mesh(surface, fields.rainbow, settings)
    assert report.level == surface.level == pytest.approx(np.median(surface.field(mesh.vertices)), rel=0.05)


def test_a_hollow_behind_a_pinhole_is_filled_and_a_handle_stays(fields):
    """A hollow ball with a tunnel of 0.05 into it has Euler number 4; a torus 0."""
    settings = MeshSettings(resolution=72, density_level=fields.LEVEL, texture_size=0)

    def pierced(points):
        skin = np.abs(np.linalg.norm(points, axis=1) - 0.45) - 0.06
        tunnel = np.where(points[:, 2] > 0, np.linalg.norm(points[:, :2], axis=1) - 0.03, 1.0)
        return np.maximum(skin, -tunnel)

    def torus(points):
        ring = np.linalg.norm(points[:, :2], axis=1) - 0.4
        return np.sqrt(ring**2 + points[:, 2] ** 2) - 0.15

    for distance, euler, volume in ((pierced, 2, 4 / 3 * np.pi * 0.51**3), (torus, 0, 2 * np.pi**2 * 0.4 * 0.15**2)):
        surface = find_surface(fields.solid(distance, 400.0), None, settings)
        report = build_mesh(surface, fields.rainbow, settings)[1]
        assert report.euler_number == euler
        assert report.volume == pytest.approx(volume, rel=0.05)


def test_a_level_above_all_densities_is_no_surface(fields):
    settings = MeshSettings(resolution=40, density_level=10.0, texture_size=0)
    surface = find_surface(lambda points: fields.solid(fields.ball(0.4))(points) / 400.0, None, settings)
    with pytest.raises(NoSurfaceError, match="set a lower density level"):
        build_mesh(surface, fields.rainbow, settings)


def test_neither_views_nor_a_level_is_refused(fields):
    with pytest.raises(ValueError, match="give views or a density level"):
        surface_at_level(fields.solid(fields.ball(0.4)), None, MeshSettings())


def test_too_many_faces_for_a_texture_are_said_and_coloured_by_vertex(fields):
    settings = MeshSettings(resolution=64, density_level=fields.LEVEL, face_budget=50_000, texture_size=256)
    surface = surface_at_level(fields.solid(fields.ball(0.5)), None, settings)
    mesh, report = build_mesh(surface, fields.rainbow, settings)
    assert report.faces > 15_000
    assert report.texture_size == 0
    assert mesh.texture is None
    assert mesh.vertex_colours is not None
    assert "too many to unwrap" in report.notes[0]


def test_colours_can_be_gathered_below_the_surface(fields):
    """A ball red below its skin and black outside: the plain surface colour is dark, the gathered one is red."""

    def colour(points):
        inside = np.linalg.norm(points, axis=1) < 0.385
        return np.where(inside[:, None], [0.9, 0.1, 0.1], 0.0)

    settings = MeshSettings(resolution=32, density_level=fields.LEVEL, texture_size=0, colour_depth=0.0)
    surface = surface_at_level(fields.solid(fields.ball(0.4), 600.0), None, settings)
    plain = build_mesh(surface, colour, settings)[0]
    gathered = build_mesh(surface, colour, replace(settings, colour_depth=0.08))[0]
    assert plain.vertex_colours.max() == 0.0
    assert gathered.vertex_colours[:, 0].mean() > 0.15
