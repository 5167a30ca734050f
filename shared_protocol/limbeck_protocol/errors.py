"""What can go wrong, in one list: a code for programs, a sentence for people, a remedy for a button.

Rules of this file: codes are only ever appended, never renamed or reused. Every code has a remedy, so that a panel can
always offer the next step. `LimbeckError` is raised by clients when a server answers with an error, and by our own
programs wherever a user can put things right. No traceback and no path of the server's ever goes into one.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class RemedyAction(StrEnum):
    """What a button next to the error should do. A client that does not know one shows the label as text."""

    EDIT_FIELD = "edit_field"
    START_SERVER = "start_server"
    CHOOSE_PRIOR = "choose_prior"
    LOWER_RESOLUTION = "lower_resolution"
    COPY_KEY = "copy_key"
    UPDATE = "update"
    RETRY = "retry"
    FREE_DISK = "free_disk"
    SHOW_LOG = "show_log"


class ErrorCode(StrEnum):
    """Append-only. The values travel on the wire."""

    PROTOCOL_UNSUPPORTED = "PROTOCOL_UNSUPPORTED"
    BAD_MESSAGE = "BAD_MESSAGE"
    BAD_FRAME = "BAD_FRAME"
    TOO_LARGE = "TOO_LARGE"
    UNKNOWN_TYPE = "UNKNOWN_TYPE"
    INVALID_FIELD = "INVALID_FIELD"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    JOB_NOT_FOUND = "JOB_NOT_FOUND"
    JOB_ID_CONFLICT = "JOB_ID_CONFLICT"
    BAD_STATE = "BAD_STATE"
    ARTIFACT_NOT_FOUND = "ARTIFACT_NOT_FOUND"
    QUOTA_EXCEEDED = "QUOTA_EXCEEDED"
    UNKNOWN_WORD = "UNKNOWN_WORD"
    UNKNOWN_LOSS = "UNKNOWN_LOSS"
    UNKNOWN_PRIOR = "UNKNOWN_PRIOR"
    UNKNOWN_PRESET = "UNKNOWN_PRESET"
    MODEL_NOT_FOUND = "MODEL_NOT_FOUND"
    MODEL_UNSAFE = "MODEL_UNSAFE"
    MODEL_CORRUPT = "MODEL_CORRUPT"
    DEVICE_UNAVAILABLE = "DEVICE_UNAVAILABLE"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    NUMERIC_DIVERGED = "NUMERIC_DIVERGED"
    NO_SURFACE = "NO_SURFACE"
    WORKER_LOST = "WORKER_LOST"
    DISK_FULL = "DISK_FULL"
    NO_SERVER = "NO_SERVER"
    SERVER_LOST = "SERVER_LOST"
    ACCESS_DENIED = "ACCESS_DENIED"
    TIMEOUT = "TIMEOUT"
    CANNOT_READ = "CANNOT_READ"
    CANNOT_WRITE = "CANNOT_WRITE"
    CANCELLED = "CANCELLED"
    INTERNAL = "INTERNAL"


class Remedy(msgspec.Struct, frozen=True, kw_only=True):
    """The next step that an error offers."""

    action: str
    """A value of `RemedyAction`, or of a newer release's list: so a plain string."""
    label: str
    """A short sentence in the imperative; a panel puts it on the button."""
    field: str | None = None
    """Dotted name of the recipe field to edit, where there is one."""


_DEFAULT_REMEDIES: dict[ErrorCode, tuple[RemedyAction, str]] = {
    ErrorCode.PROTOCOL_UNSUPPORTED: (
        RemedyAction.UPDATE,
        "Update the older of the two: Limbeck's extension or server.",
    ),
    ErrorCode.BAD_MESSAGE: (RemedyAction.UPDATE, "Update the client: it sent a message that the server cannot read."),
    ErrorCode.BAD_FRAME: (RemedyAction.UPDATE, "Update the client: an array did not match its description."),
    ErrorCode.TOO_LARGE: (RemedyAction.EDIT_FIELD, "Send less: fewer cameras or a shorter prompt."),
    ErrorCode.UNKNOWN_TYPE: (RemedyAction.UPDATE, "Update the server: it does not know this request."),
    ErrorCode.INVALID_FIELD: (RemedyAction.EDIT_FIELD, "Correct the field that the message names."),
    ErrorCode.UNAUTHENTICATED: (RemedyAction.COPY_KEY, "Copy your public key and have the server's owner allow it."),
    ErrorCode.JOB_NOT_FOUND: (RemedyAction.RETRY, "List the jobs and choose one that exists."),
    ErrorCode.JOB_ID_CONFLICT: (RemedyAction.RETRY, "Submit again under a new job id."),
    ErrorCode.BAD_STATE: (RemedyAction.RETRY, "Refresh the job: it has moved on."),
    ErrorCode.ARTIFACT_NOT_FOUND: (RemedyAction.RETRY, "Look at the job's list of artifacts and choose one of them."),
    ErrorCode.QUOTA_EXCEEDED: (RemedyAction.RETRY, "Wait for a queued job to end, or cancel one."),
    ErrorCode.UNKNOWN_WORD: (
        RemedyAction.EDIT_FIELD,
        "Use words of the known world, or choose a Stable Diffusion prior.",
    ),
    ErrorCode.UNKNOWN_LOSS: (RemedyAction.EDIT_FIELD, "Choose one of the losses listed."),
    ErrorCode.UNKNOWN_PRIOR: (RemedyAction.CHOOSE_PRIOR, "Choose one of the priors listed."),
    ErrorCode.UNKNOWN_PRESET: (RemedyAction.EDIT_FIELD, "Choose one of the presets listed."),
    ErrorCode.MODEL_NOT_FOUND: (RemedyAction.CHOOSE_PRIOR, "Choose an installed prior, or download the model first."),
    ErrorCode.MODEL_UNSAFE: (RemedyAction.CHOOSE_PRIOR, "Choose a model that ships safetensors files."),
    ErrorCode.MODEL_CORRUPT: (RemedyAction.CHOOSE_PRIOR, "Download the model again, or choose another."),
    ErrorCode.DEVICE_UNAVAILABLE: (RemedyAction.EDIT_FIELD, "Choose the device 'cpu', or run `limbeck doctor`."),
    ErrorCode.OUT_OF_MEMORY: (
        RemedyAction.LOWER_RESOLUTION,
        "Lower the render size or the field's resolution; of a picture, its size.",
    ),
    ErrorCode.NUMERIC_DIVERGED: (RemedyAction.EDIT_FIELD, "Lower the learning rate or the guidance scale."),
    ErrorCode.NO_SURFACE: (RemedyAction.EDIT_FIELD, "Run more steps, or set a lower density level."),
    ErrorCode.WORKER_LOST: (RemedyAction.RETRY, "Submit the job again; if it happens twice, look at the job's log."),
    ErrorCode.DISK_FULL: (RemedyAction.FREE_DISK, "Free some disk space where the server keeps its data."),
    ErrorCode.NO_SERVER: (RemedyAction.START_SERVER, "Start the server: `limbeck serve`."),
    ErrorCode.SERVER_LOST: (RemedyAction.START_SERVER, "Start the server again; the job is safe in its store."),
    ErrorCode.ACCESS_DENIED: (RemedyAction.COPY_KEY, "Check the server's key, and have your own key allowed there."),
    ErrorCode.TIMEOUT: (RemedyAction.RETRY, "Try again; if it persists, look at `limbeck status`."),
    ErrorCode.CANNOT_READ: (RemedyAction.EDIT_FIELD, "Name a file that exists and can be read."),
    ErrorCode.CANNOT_WRITE: (RemedyAction.EDIT_FIELD, "Name a place that can be written."),
    ErrorCode.CANCELLED: (RemedyAction.RETRY, "Submit the job again if the cancel was not meant."),
    ErrorCode.INTERNAL: (RemedyAction.SHOW_LOG, "Look at the job's log, and report it with the log attached."),
}


def remedy_for(code: ErrorCode, *, label: str | None = None, field: str | None = None) -> Remedy:
    """Return the remedy that goes with `code`, with another `label` or a recipe `field` where one is known."""
    action, default_label = _DEFAULT_REMEDIES[code]
    return Remedy(action=action, label=label or default_label, field=field)


def as_sentence(text: object) -> str:
    """Return an exception's text as a sentence: libraries begin in lower case and leave the full stop out."""
    words = str(text).strip()
    return words[:1].upper() + words[1:] + ("" if words.endswith((".", "!", "?")) else ".")


class LimbeckError(Exception):
    """An error that a person can act upon: code, sentence, remedy.

    Args:
        code: what kind of thing went wrong.
        message: one sentence: what was expected and what came.
        remedy: the next step; by default the one that belongs to the code.
    """

    def __init__(self, code: ErrorCode, message: str, remedy: Remedy | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.remedy = remedy or remedy_for(code)

    def __str__(self) -> str:
        return f"{self.message} {self.remedy.label}"


class CodecError(LimbeckError):
    """Frames that are no message, or a message that does not fit into frames.

    `request_id` is the id in the frames' header where that much could be read, so that a server can answer;
    `reply_to` the id of the request that it answers, so that a client can end its waiting; `field` the dotted name of
    the field that was wrong, where there is one.
    """

    def __init__(
        self, code: ErrorCode, message: str, *, request_id: str | None = None, field: str | None = None
    ) -> None:
        super().__init__(code, message[:400], remedy_for(code, field=field))
        self.request_id = request_id
        self.reply_to: str | None = None
        self.field = field
