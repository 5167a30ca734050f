"""The database's tables, and how a file becomes a connection that may be trusted.

Exactly one connection to the file exists, in one process: SQLite before 3.51.3 could lose the write-ahead log when two
connections wrote at once. `synchronous=FULL` makes a commit survive a power cut; at our rate it costs nothing.
"""

from __future__ import annotations

import sqlite3
import uuid
from pathlib import Path

from limbeck_protocol.errors import ErrorCode, LimbeckError, Remedy, RemedyAction

SCHEMA_VERSION = 3
"""2: recipes may hold what came with protocol 1.2; 3: what came with 1.3. Releases that write less cannot read them.
The tables are the same."""

_STATEMENTS = (
    """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT
    """,
    """
    CREATE TABLE jobs (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        state TEXT NOT NULL,
        recipe TEXT NOT NULL,
        submitted_digest TEXT NOT NULL,
        created REAL NOT NULL,
        ended REAL,
        attempt INTEGER NOT NULL DEFAULT 0,
        metrics TEXT NOT NULL DEFAULT '{}',
        error TEXT
    ) STRICT
    """,
    """
    CREATE INDEX jobs_by_state ON jobs (state, number)
    """,
    """
    CREATE TABLE events (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        job TEXT NOT NULL REFERENCES jobs (id),
        time REAL NOT NULL,
        kind TEXT NOT NULL,
        data TEXT NOT NULL
    ) STRICT
    """,
    """
    CREATE INDEX events_by_job ON events (job, sequence)
    """,
    """
    CREATE TABLE artifacts (
        job TEXT NOT NULL REFERENCES jobs (id),
        name TEXT NOT NULL,
        size_bytes INTEGER NOT NULL,
        digest TEXT NOT NULL,
        media_type TEXT NOT NULL,
        PRIMARY KEY (job, name)
    ) STRICT
    """,
)


def open_database(path: Path) -> sqlite3.Connection:
    """Return the one connection to the database at `path`, which is made when missing.

    Raises:
        LimbeckError: the file is no database of ours, is damaged, or was written by a newer Limbeck.
    """
    try:
        connection = sqlite3.connect(path, isolation_level=None, timeout=2.0)
        try:
            _prepare(connection, path.name)
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise LimbeckError(
            ErrorCode.CANNOT_READ,
            f"The job database {path.name} could not be opened: {error}.",
            Remedy(
                action=RemedyAction.SHOW_LOG, label="Move the file aside; the server then starts with an empty one."
            ),
        ) from error
    path.chmod(0o600)
    return connection


def _prepare(connection: sqlite3.Connection, name: str) -> None:
    connection.row_factory = sqlite3.Row
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        raise LimbeckError(
            ErrorCode.CANNOT_READ,
            f"The job database {name} has version {version}; this Limbeck reads up to version {SCHEMA_VERSION}.",
            Remedy(action=RemedyAction.UPDATE, label="Update Limbeck's server, or choose another data folder."),
        )
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    if version == 0:
        if connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
            raise LimbeckError(
                ErrorCode.CANNOT_READ,
                f"The file {name} is a database, but not one of Limbeck's.",
                Remedy(action=RemedyAction.EDIT_FIELD, label="Choose another data folder."),
            )
        connection.execute("BEGIN IMMEDIATE")
        for statement in (*_STATEMENTS, f"PRAGMA user_version={SCHEMA_VERSION}"):
            connection.execute(statement)
        connection.execute("INSERT INTO meta VALUES ('store_id', ?)", (uuid.uuid4().hex,))
        connection.execute("COMMIT")
    problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if problem != "ok":
        raise sqlite3.DatabaseError(str(problem))
    if 0 < version < SCHEMA_VERSION:
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
