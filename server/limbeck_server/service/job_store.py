"""The one truth about jobs: SQLite, every change and its event in one transaction.

A submit is acknowledged after its commit, never before. Every change of state goes through `job_states.check_move`, so
that no code path can make a move that the table does not hold. One thread, one connection.
"""

from __future__ import annotations

import functools
import hashlib
import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from limbeck_protocol.errors import ErrorCode, LimbeckError, remedy_for
from limbeck_protocol.job_states import FINAL_STATES, JobState, check_move
from limbeck_protocol.messages import Artifact, ErrorReply, Event, JobInfo
from limbeck_protocol.recipe import Recipe, recipe_from_json, recipe_to_json

from limbeck_server.service.store_schema import open_database

LIVE_STATES = (JobState.STARTING, JobState.RUNNING, JobState.EXPORTING, JobState.CANCELLING)
"""States in which a job has, or had, a worker."""


def recipe_digest(recipe: Recipe) -> str:
    """Return blake2b-256 of the recipe's stable JSON text, in hex."""
    return hashlib.blake2b(recipe_to_json(recipe).encode(), digest_size=32).hexdigest()


class JobStore:
    """Jobs, events and artifacts of one data folder.

    Args:
        path: the database file; made when missing.
        clock: Unix seconds, for display only; order comes from sequence numbers.

    Raises:
        LimbeckError: the file cannot be used; see `store_schema.open_database`.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._connection = open_database(path)
        self._clock = clock
        self._parse_recipe = functools.lru_cache(maxsize=64)(recipe_from_json)

    def close(self) -> None:
        self._connection.close()

    @property
    def store_id(self) -> str:
        """Random, made with the data folder: the same id means the same history."""
        row = self._connection.execute("SELECT value FROM meta WHERE key = 'store_id'").fetchone()
        return str(row["value"])

    # --- writing ------------------------------------------------------------------------------------------------------

    def find_submitted(self, job_id: str, digest: str) -> JobInfo | None:
        """Return the job when it was submitted before with the same recipe, None when it is new.

        Raises:
            LimbeckError: `JOB_ID_CONFLICT` when the id belongs to another recipe.
        """
        row = self._connection.execute("SELECT submitted_digest FROM jobs WHERE id = ?", (job_id,)).fetchone()
        if row is None:
            return None
        if row["submitted_digest"] != digest:
            raise LimbeckError(
                ErrorCode.JOB_ID_CONFLICT, f"Job {job_id} exists already, with another recipe than the one submitted."
            )
        return self.job(job_id)

    def submit(self, job_id: str, digest: str, recipe: Recipe) -> JobInfo:
        """Store a new queued job and return it once it is safe on disk.

        Args:
            job_id: made by the client.
            digest: `recipe_digest` of the recipe as it was submitted, before completion.
            recipe: completed.
        """
        now = self._clock()
        with self._transaction():
            self._connection.execute(
                "INSERT INTO jobs (id, state, recipe, submitted_digest, created) VALUES (?, ?, ?, ?, ?)",
                (job_id, JobState.QUEUED.value, recipe_to_json(recipe), digest, now),
            )
            self._add_event(job_id, "state", {"state": JobState.QUEUED.value})
        return self.job(job_id)

    def move(self, job_id: str, *states: JobState, error: ErrorReply | None = None) -> None:
        """Take the job through `states` in order, each with its event, in one transaction.

        Raises:
            IllegalMoveError: a move that the table does not hold; nothing is changed then.
        """
        with self._transaction():
            self._move(job_id, *states, error=error)

    def finish(self, job_id: str, metrics: dict[str, Any], *states: JobState) -> None:
        """Store the job's metrics and take it through `states`, in one transaction."""
        with self._transaction():
            self._connection.execute("UPDATE jobs SET metrics = ? WHERE id = ?", (json.dumps(metrics), job_id))
            self._add_event(job_id, "metrics", metrics)
            self._move(job_id, *states)

    def add_event(self, job_id: str, kind: str, data: dict[str, Any]) -> None:
        """Store a `phase` or `notice` event."""
        with self._transaction():
            self._add_event(job_id, kind, data)

    def add_artifact(self, job_id: str, artifact: Artifact) -> None:
        """Record a file of the job, with its event; a file written again replaces its record."""
        with self._transaction():
            self._connection.execute(
                "INSERT OR REPLACE INTO artifacts VALUES (?, ?, ?, ?, ?)",
                (job_id, artifact.name, artifact.size_bytes, artifact.digest, artifact.media_type),
            )
            self._add_event(job_id, "artifact", {"name": artifact.name, "size_bytes": artifact.size_bytes})

    def recover(self) -> list[str]:
        """End the jobs that a dead server left with a worker, and return their ids. Call once, at start.

        Their workers are gone: a worker exits when its server does. (Resuming from a checkpoint will start here.)
        """
        rows = self._connection.execute(
            f"SELECT id, state FROM jobs WHERE state IN ({','.join('?' * len(LIVE_STATES))}) ORDER BY number",  # noqa: S608
            [state.value for state in LIVE_STATES],
        ).fetchall()
        error = ErrorReply(
            code=ErrorCode.WORKER_LOST,
            message="The server ended while this job ran, and its worker with it.",
            remedy=remedy_for(ErrorCode.WORKER_LOST, label="Submit the job again."),
        )
        with self._transaction():
            for row in rows:
                if row["state"] == JobState.CANCELLING:
                    self._move(row["id"], JobState.CANCELLED)
                else:
                    self._move(row["id"], JobState.FAILED, error=error)
        return [row["id"] for row in rows]

    # --- reading ------------------------------------------------------------------------------------------------------

    def state(self, job_id: str) -> JobState:
        """Return the job's state.

        Raises:
            LimbeckError: `JOB_NOT_FOUND`.
        """
        row = self._connection.execute("SELECT state FROM jobs WHERE id = ?", (job_id,)).fetchone()
        if row is None:
            raise LimbeckError(ErrorCode.JOB_NOT_FOUND, f"There is no job {job_id} on this server.")
        return JobState(row["state"])

    def job(self, job_id: str) -> JobInfo:
        """Return the job as it is stored, without its progress.

        Raises:
            LimbeckError: `JOB_NOT_FOUND`.
        """
        row = self._connection.execute("SELECT * FROM jobs WHERE id = ?", (job_id,)).fetchone()
        if row is None:
            raise LimbeckError(ErrorCode.JOB_NOT_FOUND, f"There is no job {job_id} on this server.")
        return self._job_info(row)

    def jobs(self, limit: int) -> list[JobInfo]:
        """Return up to `limit` jobs, newest first."""
        rows = self._connection.execute("SELECT * FROM jobs ORDER BY number DESC LIMIT ?", (limit,)).fetchall()
        return [self._job_info(row) for row in rows]

    def oldest_queued(self) -> str | None:
        """Return the id of the queued job that was submitted first, None when nothing waits."""
        row = self._connection.execute(
            "SELECT id FROM jobs WHERE state = ? ORDER BY number LIMIT 1", (JobState.QUEUED.value,)
        ).fetchone()
        return None if row is None else str(row["id"])

    def count_queued(self) -> int:
        query = "SELECT count(*) FROM jobs WHERE state = ?"
        return int(self._connection.execute(query, (JobState.QUEUED.value,)).fetchone()[0])

    def events(self, after_sequence: int, job_id: str | None, limit: int) -> list[Event]:
        """Return up to `limit` events above `after_sequence`, oldest first; of all jobs unless one is named."""
        rows = self._connection.execute(
            "SELECT * FROM events WHERE sequence > ?1 AND (?2 IS NULL OR job = ?2) ORDER BY sequence LIMIT ?3",
            (after_sequence, job_id, limit),
        ).fetchall()
        return [
            Event(
                sequence=row["sequence"],
                job_id=row["job"],
                time=row["time"],
                kind=row["kind"],
                data=json.loads(row["data"]),
            )
            for row in rows
        ]

    def last_sequence(self) -> int:
        """Return the newest sequence number of the store, 0 when nothing has happened yet."""
        return int(self._connection.execute("SELECT coalesce(max(sequence), 0) FROM events").fetchone()[0])

    def artifact(self, job_id: str, name: str) -> Artifact:
        """Return the record of one of the job's files.

        Raises:
            LimbeckError: `JOB_NOT_FOUND`, `ARTIFACT_NOT_FOUND`.
        """
        for artifact in self.artifacts(job_id):
            if artifact.name == name:
                return artifact
        self.state(job_id)  # an unknown job is its own error
        raise LimbeckError(ErrorCode.ARTIFACT_NOT_FOUND, f"Job {job_id} has no artifact {name}.")

    def artifacts(self, job_id: str) -> list[Artifact]:
        """Return the job's files in order of name."""
        rows = self._connection.execute("SELECT * FROM artifacts WHERE job = ? ORDER BY name", (job_id,)).fetchall()
        return [
            Artifact(name=row["name"], size_bytes=row["size_bytes"], digest=row["digest"], media_type=row["media_type"])
            for row in rows
        ]

    # --- inside -------------------------------------------------------------------------------------------------------

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # SQLite rolls back by itself when the disk is full
                self._connection.execute("ROLLBACK")
            raise

    def _move(self, job_id: str, *states: JobState, error: ErrorReply | None = None) -> None:
        before = self.state(job_id)
        for after in states:
            check_move(before, after)
            data: dict[str, Any] = {"state": after.value}
            if after == JobState.FAILED:
                if error is None:
                    raise ValueError(f"job {job_id} cannot fail without an error that says why")
                remedy = None if error.remedy is None else msgspec.to_builtins(error.remedy)
                data |= {"code": str(error.code), "message": error.message, "remedy": remedy}
            self._connection.execute(
                "UPDATE jobs SET state = ?, attempt = attempt + ?, ended = ?, error = ? WHERE id = ?",
                (
                    after.value,
                    int(after == JobState.STARTING),
                    self._clock() if after in FINAL_STATES else None,
                    msgspec.json.encode(error).decode() if after == JobState.FAILED else None,
                    job_id,
                ),
            )
            self._add_event(job_id, "state", data)
            before = after

    def _add_event(self, job_id: str, kind: str, data: dict[str, Any]) -> None:
        self._connection.execute(
            "INSERT INTO events (job, time, kind, data) VALUES (?, ?, ?, ?)",
            (job_id, self._clock(), kind, json.dumps(data)),
        )

    def _job_info(self, row: sqlite3.Row) -> JobInfo:
        return JobInfo(
            job_id=row["id"],
            state=JobState(row["state"]),
            recipe=self._parse_recipe(row["recipe"]),
            created=row["created"],
            ended=row["ended"],
            attempt=row["attempt"],
            artifacts=self.artifacts(row["id"]),
            metrics=json.loads(row["metrics"]),
            error=None if row["error"] is None else msgspec.json.decode(row["error"], type=ErrorReply),
        )
