"""A viewer's camera through the whole session and the real server, whose worker makes a picture for every camera."""

from __future__ import annotations

import time

import bpy
import harness
import numpy as np
from limbeck_protocol.messages import Preview, ViewerCamera
from limbeck_protocol.recipe import Recipe, Settings

addon = harness.load_addon()
runtime = addon.runtime


def begin(steps: int = 400):
    """A job under way, and the pictures of both kinds as they come."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    addon.register()
    session, pictures = runtime.session(), []
    session._on_preview = pictures.append
    session.submit(Recipe(prompt="a red cube", settings=Settings(steps=steps)), fetch=False)
    return session, pictures


def camera(number: int) -> ViewerCamera:
    matrix = np.eye(4, dtype=np.float32)
    matrix[2, 3] = 2.0
    return ViewerCamera(camera_to_world=matrix, lens=np.array([1.0, number, 0.0], np.float32), size=32)


def pump_until(condition, timeout_s: float = 15.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        time.sleep(min(runtime.pump() or 0.02, 0.02))
        assert runtime.session().error is None, runtime.session().error
        assert time.monotonic() < deadline


def end(session) -> None:
    session.cancel()
    pump_until(lambda: not session.is_busy)


def seen_from(pictures: list[Preview], number: int) -> list[Preview]:
    return [one for one in pictures if one.from_viewer and one.view.lens[1] == number]


def pictures_follow_the_viewer_and_the_jobs_own_come_too() -> None:
    session, pictures = begin()
    where = [None]
    session.viewer = lambda: where[0]
    pump_until(lambda: len(pictures) >= 3)
    assert not any(one.from_viewer for one in pictures)
    for number in (3, 4, 5):
        where[0] = camera(number)
        pump_until(lambda number=number: len(seen_from(pictures, number)) >= 2)
        assert seen_from(pictures, number)[0].image.shape == (32, 32, 4)
    assert session.followed.picture.shape[2] == 3, "the panel's picture is the job's own"
    del pictures[:]
    pump_until(lambda: sum(not one.from_viewer for one in pictures) >= 3)
    where[0] = None
    pump_until(lambda: not session._questions._waiting.get("preview") or session._watch._asked_from is None)
    del pictures[:]
    pump_until(lambda: len(pictures) >= 5)
    assert not any(one.from_viewer for one in pictures)
    end(session)


def a_view_that_rests_is_rendered_a_few_times_a_second_only() -> None:
    session, pictures = begin()
    one = camera(1)
    session.viewer = lambda: one
    pump_until(lambda: seen_from(pictures, 1))
    del pictures[:]
    begun = time.monotonic()
    pump_until(lambda: time.monotonic() - begun > 2.0)
    most = (time.monotonic() - begun) / addon.connection.session_job.VIEWER_PAUSE_S + 1
    assert 2 <= len(seen_from(pictures, 1)) <= most
    end(session)


def the_view_being_optimised_is_known() -> None:
    session, _ = begin()
    pump_until(lambda: session.followed.view is not None)
    matrix, lens = session.followed.view
    assert matrix.shape == (4, 4)
    assert lens.tolist() == [1.5, 0.0, 0.0]
    end(session)


def a_server_that_refuses_viewers_is_asked_without() -> None:
    """As one of version 1.0 refuses the size: the job is followed on."""
    session, pictures = begin()
    bad = ViewerCamera(camera_to_world=2 * camera(1).camera_to_world, lens=camera(1).lens)
    session.viewer = lambda: bad
    pump_until(lambda: len(pictures) >= 3)
    assert not any(one.from_viewer for one in pictures)
    end(session)


if __name__ == "__main__":
    harness.main(
        pictures_follow_the_viewer_and_the_jobs_own_come_too,
        a_view_that_rests_is_rendered_a_few_times_a_second_only,
        the_view_being_optimised_is_known,
        a_server_that_refuses_viewers_is_asked_without,
    )
