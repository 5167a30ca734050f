"""The newest picture of each job, and nothing else."""

from __future__ import annotations

import numpy as np
from limbeck_server.service.preview_mailbox import PreviewMailbox


def picture(value: int) -> np.ndarray:
    return np.full((4, 4, 3), value, np.uint8)


def test_only_the_newest_picture_is_kept() -> None:
    mailbox = PreviewMailbox()
    assert [mailbox.put("job", step, picture(step)) for step in (10, 20, 30)] == [1, 2, 3]
    newest = mailbox.newer("job", 1)
    assert newest is not None
    assert (newest.generation, newest.step) == (3, 30)
    assert np.array_equal(newest.image, picture(30))


def test_what_the_client_has_is_not_sent_again() -> None:
    mailbox = PreviewMailbox()
    mailbox.put("job", 10, picture(1))
    assert mailbox.newer("job", 1) is None
    told = mailbox.nothing_newer("job")
    assert (told.generation, told.step, told.image) == (1, 10, None)


def test_a_job_without_pictures_has_generation_zero() -> None:
    assert PreviewMailbox().newer("job", 0) is None
    assert PreviewMailbox().nothing_newer("job").generation == 0


def test_jobs_count_apart_and_the_oldest_is_forgotten() -> None:
    mailbox = PreviewMailbox(jobs_kept=2)
    assert mailbox.put("a", 1, picture(1)) == 1
    assert mailbox.put("b", 1, picture(1)) == 1
    assert mailbox.put("a", 2, picture(2)) == 2
    assert mailbox.put("c", 1, picture(1)) == 1
    assert mailbox.newer("b", 0) is None
    assert mailbox.newer("a", 0) is not None
