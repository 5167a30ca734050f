"""Every limit of the wire, in one place. `Welcome.limits` tells them to clients; `codec.py` enforces them.

Two directions have two budgets: requests come from strangers until proved otherwise, so they are small; replies come
from the server whose key the client knows, and must carry pictures, chunks and lists of jobs.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from limbeck_protocol.recipe import MAX_CAMERAS, MAX_PROMPT_CHARACTERS

_KIB = 1024
_MIB = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """What a message may be at most. All byte counts are for one message or one of its frames."""

    request_header_bytes: int = 64 * _KIB
    request_frame_bytes: int = 256 * _KIB
    """Also the server socket's MAXMSGSIZE, so that a larger frame never reaches the server's memory."""
    request_message_bytes: int = 512 * _KIB
    request_payload_frames: int = 16
    reply_header_bytes: int = 1 * _MIB
    reply_frame_bytes: int = 4 * _MIB
    """Also the client socket's MAXMSGSIZE. A preview of 1024 x 1024 RGB pixels (3 MiB) fits."""
    reply_message_bytes: int = 8 * _MIB
    reply_payload_frames: int = 1536
    """500 listed jobs with three camera arrays each."""
    nesting_depth: int = 16
    container_entries: int = 4096
    """Of one map or list."""
    text_bytes: int = 16 * _KIB
    """Of one string, in UTF-8."""
    array_dimensions: int = 4
    prompt_characters: int = MAX_PROMPT_CHARACTERS
    cameras: int = MAX_CAMERAS
    wait_ms: int = 20_000
    listed_jobs: int = 500
    listed_events: int = 1000
    chunk_bytes: int = 1 * _MIB
    chunks_in_flight: int = 8
    """How many chunks a client asks for at once."""

    def as_dict(self) -> dict[str, int]:
        """Return the limits by name, as `Welcome` carries them."""
        return dataclasses.asdict(self)


LIMITS = Limits()
