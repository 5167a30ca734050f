"""Files that only their owner may read: written whole or not at all, and refused when others could have touched them.

On Windows the mode bits say nothing; there, the user's profile folder is what keeps others out.
"""

from __future__ import annotations

import os
import secrets
import stat
import sys
from pathlib import Path

from limbeck_protocol.errors import ErrorCode, LimbeckError, Remedy, RemedyAction

_MAX_BYTES = 64 * 1024


def make_private_folder(folder: Path) -> None:
    """Make `folder` with mode 0700, or see that an existing one is ours alone.

    Raises:
        LimbeckError: it cannot be made, belongs to somebody else, or others may enter it; the remedy has the command.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
    except OSError as error:
        raise _cannot_write(folder, error) from error
    _refuse_if_others_reach(folder, found, "700")


def create_private_file(path: Path, content: bytes) -> bool:
    """Create `path` with mode 0600 and `content`, unless it exists; return whether this call created it.

    The file appears whole: of two processes that create it at once, one wins and the other finds the winner's.

    Raises:
        LimbeckError: the file or its folder cannot be written, or others reach the folder.
    """
    make_private_folder(path.parent)
    temporary = _write_beside(path, content)
    try:
        if sys.platform == "win32":
            temporary.rename(path)  # refuses to overwrite there
        else:
            os.link(temporary, path)
        return True
    except FileExistsError:
        return False
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def replace_private_file(path: Path, content: bytes) -> None:
    """Write `path` with mode 0600 and `content`; readers see the old file or the new one, never a part.

    Raises:
        LimbeckError: the file or its folder cannot be written, or others reach the folder.
    """
    make_private_folder(path.parent)
    temporary = _write_beside(path, content)
    try:
        temporary.replace(path)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def read_private_file(path: Path) -> bytes | None:
    """Return the file's content, or None if there is no such file.

    Raises:
        LimbeckError: it is a link, belongs to somebody else, others may read it, it is too long or cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        return None
    except OSError as error:
        what = "is a link, which is not followed" if path.is_symlink() else f"cannot be read ({error.strerror})"
        raise _refused(path, what, f"Remove it: rm '{path}'") from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise _refused(path, "is no plain file", f"Remove it: rm -r '{path}'")
        _refuse_if_others_reach(path, found, "600")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(_MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(content) > _MAX_BYTES:
        raise _refused(path, f"is longer than {_MAX_BYTES} bytes", f"Remove it: rm '{path}'")
    return content


def _write_beside(path: Path, content: bytes) -> Path:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    try:
        with os.fdopen(os.open(temporary, flags, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise _cannot_write(path, error) from error
    return temporary


def _refuse_if_others_reach(path: Path, found: os.stat_result, mode: str) -> None:
    if sys.platform == "win32":
        return
    if found.st_uid != os.geteuid():
        raise _refused(path, "belongs to another user", f"Take it over: chown {os.geteuid()} '{path}'")
    if stat.S_IMODE(found.st_mode) & 0o077:
        what = f"can be reached by other users (mode {stat.S_IMODE(found.st_mode):04o})"
        raise _refused(path, what, f"Close it: chmod {mode} '{path}'")


def _refused(path: Path, what: str, fix: str) -> LimbeckError:
    return LimbeckError(ErrorCode.CANNOT_READ, f"{path} {what}.", Remedy(action=RemedyAction.RETRY, label=f"{fix}"))


def _cannot_write(path: Path, error: OSError) -> LimbeckError:
    return LimbeckError(ErrorCode.CANNOT_WRITE, f"{path} cannot be written: {error.strerror}.")
