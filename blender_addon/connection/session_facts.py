"""What a session knows, to be read by panels: plain attributes, and what follows from them. Nothing is done here."""

from __future__ import annotations

from limbeck_protocol import messages
from limbeck_protocol.client import Client, ConnectionState
from limbeck_protocol.errors import LimbeckError

from .download import Download
from .followed_job import FollowedJob
from .server_search import ServerSearch
from .session_server import ServerKeeper
from .session_state import BUSY_STATES, SessionState


class SessionFacts:
    """The state of a session; `Session` changes it."""

    def __init__(self) -> None:
        self.state = SessionState.DISCONNECTED
        self.error: LimbeckError | None = None
        self.followed: FollowedJob | None = None
        self.catalog: messages.Catalog | None = None
        self.jobs: list[messages.JobInfo] = []
        """The newest jobs of the server, newest first."""
        self.older_jobs: dict[str, messages.JobInfo | LimbeckError] = {}
        """What the server said of jobs that were asked for by their id: too old for the list, or why there is none."""
        self.changes = 0
        """Rises with everything that a panel would draw differently."""
        self._client: Client | None = None
        self._server = ServerKeeper()
        self._search: ServerSearch | None = None
        self._unsent: messages.Submit | messages.GetJob | None = None
        """What is to be said about the job as soon as there is a server; kept until the server has answered it."""
        self._is_waiting_to_say = False
        self._download: Download | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a job is on its way; a second one has to wait."""
        return self.state in BUSY_STATES or self._is_waiting_to_say

    @property
    def is_reconnecting(self) -> bool:
        """Whether a job is followed and the server has gone away for the moment."""
        return self.is_busy and self._client is not None and self._client.state is ConnectionState.LOST

    @property
    def is_connected(self) -> bool:
        """Whether there is a server that has said who it is."""
        return self._client is not None and self._client.state is ConnectionState.CONNECTED

    @property
    def has_client(self) -> bool:
        """Whether a connection is kept, or being made."""
        return self._client is not None or self._search is not None

    @property
    def fetched_share(self) -> float:
        """How much of the mesh is here, 0..1; 0 when none is being fetched."""
        return self._download.share if self._download else 0.0

    @property
    def has_own_server(self) -> bool:
        """Whether a server runs that this session started."""
        return self._server.is_running

    @property
    def is_unfinished(self) -> bool:
        """Whether the job last followed has not ended, or its mesh not come: the next `connect()` takes it up again."""
        return self.followed is not None and self._unsent is not None
