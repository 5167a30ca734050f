from __future__ import annotations

import torch
from limbeck_server.scene.occupancy import OccupancyGrid, OccupancySettings


def test_everything_is_occupied_before_the_first_refresh(generator):
    grid = OccupancyGrid(OccupancySettings(resolution=8))
    assert grid.contains(torch.rand(50, 3, generator=generator) - 0.5).all()


def test_no_point_with_density_is_missed_after_a_refresh(torus_field, generator):
    field = torus_field(24)
    grid = OccupancyGrid(OccupancySettings())
    grid.refresh(field, generator)
    points = (torch.rand(20_000, 3, generator=generator) * 2 - 1) * 0.72
    dense = field.density(points).detach() > 0.01
    assert dense.any()
    assert grid.contains(points)[dense].all()
    assert grid.occupied.float().mean() < 0.25, "most of the box is empty"


def test_a_point_belongs_to_the_cell_around_it():
    grid = OccupancyGrid(OccupancySettings(resolution=4, bound=1.0))
    grid.occupied.zero_()
    grid.occupied[3, 0, 2] = True
    points = torch.tensor([[0.75, -0.75, 0.25], [0.51, -0.51, 0.01], [0.49, -0.75, 0.25], [1.0, -1.0, 0.49]])
    assert grid.contains(points).tolist() == [True, True, False, True]


def test_one_dense_cell_and_its_neighbours_are_occupied(closed_form_field, generator):
    # Cell (4, 4, 4) of 8 spans 0 to 0.25 on each axis.
    field = closed_form_field(lambda p: ((p > 0) & (p < 0.25)).all(-1).float(), lambda p: p)
    grid = OccupancyGrid(OccupancySettings(resolution=8, bound=1.0, threshold=0.5))
    grid.refresh(field, generator)
    expected = torch.zeros(8, 8, 8, dtype=torch.bool)
    expected[3:6, 3:6, 3:6] = True
    assert torch.equal(grid.occupied, expected)


def test_estimates_fade_when_density_goes(closed_form_field, generator):
    grid = OccupancyGrid(OccupancySettings(resolution=4, decay=0.5, threshold=0.1))
    grid.refresh(closed_form_field(lambda p: torch.ones(len(p)), lambda p: p), generator)
    empty = closed_form_field(lambda p: torch.zeros(len(p)), lambda p: p)
    history = []
    for _ in range(5):
        grid.refresh(empty, generator)
        history.append(bool(grid.occupied.any()))
    assert history == [True, True, True, False, False], "0.5, 0.25, 0.125, then below 0.1"


def test_refresh_happens_only_when_due_and_is_determined_by_the_generator(torus_field):
    field, grids = torus_field(12), []
    for _ in range(2):
        grid = OccupancyGrid(OccupancySettings(resolution=8, refresh_every_steps=4))
        generator = torch.Generator().manual_seed(2)
        grid.maybe_refresh(field, 3, generator)
        assert grid.occupied.all()
        grid.maybe_refresh(field, 4, generator)
        assert not grid.occupied.all()
        grids.append(grid)
    assert torch.equal(grids[0].estimate, grids[1].estimate)
    assert set(grids[0].state_dict()) == {"estimate", "occupied"}, "a checkpoint holds the whole map"
