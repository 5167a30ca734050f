"""The newest picture of each job, and nothing else."""

from __future__ import annotations

import numpy as np
from limbeck_protocol.messages import PreviewReady, View
from limbeck_server.service.preview_mailbox import PreviewMailbox


def picture(value: int, *, from_viewer: bool = False) -> PreviewReady:
    image = np.full((4, 4, 4 if from_viewer else 3), value, np.uint8)
    view = View(camera_to_world=np.eye(4, dtype=np.float32), lens=np.array([1, 0, 0], np.float32))
    return PreviewReady(step=value, image=image, from_viewer=from_viewer, view=view)


def test_only_the_newest_picture_is_kept() -> None:
    mailbox = PreviewMailbox()
    assert [mailbox.put("job", picture(step)) for step in (10, 20, 30)] == [1, 2, 3]
    newest = mailbox.newer("job", 1)
    assert newest is not None
    assert (newest.generation, newest.step) == (3, 30)
    assert np.array_equal(newest.image, picture(30).image)


def test_what_the_client_has_is_not_sent_again() -> None:
    mailbox = PreviewMailbox()
    mailbox.put("job", picture(10))
    assert mailbox.newer("job", 1) is None
    told = mailbox.nothing_newer("job")
    assert (told.generation, told.step, told.image) == (1, 10, None)


def test_a_job_without_pictures_has_generation_zero() -> None:
    assert PreviewMailbox().newer("job", 0) is None
    assert PreviewMailbox().nothing_newer("job").generation == 0


def test_jobs_count_apart_and_the_oldest_is_forgotten() -> None:
    mailbox = PreviewMailbox(jobs_kept=2)
    assert mailbox.put("a", picture(1)) == 1
    assert mailbox.put("b", picture(1)) == 1
    assert mailbox.put("a", picture(2)) == 2
    assert mailbox.put("c", picture(1)) == 1
    assert mailbox.newer("b", 0) is None
    assert mailbox.newer("a", 0) is not None


def test_a_viewers_picture_and_the_jobs_own_do_not_drive_each_other_out() -> None:
    mailbox = PreviewMailbox()
    mailbox.put("job", picture(1))
    mailbox.put("job", picture(2, from_viewer=True))
    mailbox.put("job", picture(3, from_viewer=True))
    own, seen = mailbox.newer("job", 0, for_viewer=True), mailbox.newer("job", 1, for_viewer=True)
    assert own is not None
    assert seen is not None
    assert (own.generation, own.step, own.from_viewer) == (1, 1, False)
    assert (seen.generation, seen.step, seen.from_viewer) == (3, 3, True)
    assert seen.image is not None
    assert seen.image.shape == (4, 4, 4)
    assert seen.view is not None
    assert seen.view.lens.tolist() == [1, 0, 0]
    assert mailbox.newer("job", 3, for_viewer=True) is None
    assert mailbox.nothing_newer("job", for_viewer=True).generation == 3


def test_who_does_not_look_on_gets_no_viewers_picture() -> None:
    mailbox = PreviewMailbox()
    mailbox.put("job", picture(1, from_viewer=True))
    assert mailbox.newer("job", 0) is None
    assert mailbox.nothing_newer("job").generation == 0
    mailbox.put("job", picture(2))
    newest = mailbox.newer("job", 0)
    assert newest is not None
    assert (newest.generation, newest.step) == (2, 2)
