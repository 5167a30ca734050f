"""Shared by the known world's tests: one thread, so that timings and bytes do not depend on the machine."""

import mcubes
import pytest
import torch
from limbeck_server.known_world.truth import grid_points


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def true_mesh():
    """A function that meshes a signed distance function: (vertices, faces) in the world's frame."""

    def mesh(distance, resolution=96, half_extent=0.66):
        values = distance(grid_points(resolution, half_extent)).reshape(resolution, resolution, resolution)
        vertices, faces = mcubes.marching_cubes(values.double().numpy(), 0.0)
        cell = 2 * half_extent / resolution
        vertices = torch.from_numpy((vertices + 0.5) * cell - half_extent).float()
        return vertices, torch.from_numpy(faces.astype("int64"))

    return mesh
