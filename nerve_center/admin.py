"""What nervectl does to files and to whom it acts as.

The token file is replaced whole: written aside with the old one's owner and mode, fsynced, renamed, and its
folder fsynced. The database is opened as its own user: as root this process first becomes the owner of the
state folder, so that no file of root's is left there that locks the service out.
"""

from __future__ import annotations

import os
import pwd
import secrets
import stat
from pathlib import Path

from nerve_center.auth import read_token
from nerve_center.errors import CenterError

SERVICE_USER = "dio-nerve-center"


class AdminError(CenterError):
    """Something that nervectl was asked for cannot be done; `hint` says what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def show_token(path: Path) -> str:
    """The enrollment token. Raises AdminError."""
    try:
        return read_token(path)
    except OSError as exc:
        raise _file_error(path, exc) from exc
    except ValueError as exc:
        raise AdminError(str(exc), "make a new one with: nervectl token rotate") from exc


def rotate_token(path: Path) -> str:
    """Put a new random token in the file and return it. Raises AdminError."""
    token = secrets.token_urlsafe(32)
    target = Path(os.path.realpath(path))
    aside = target.with_name(f".{target.name}.new")
    try:
        owner, group, mode = _ownership(target)
        aside.unlink(missing_ok=True)
        handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            if (owner, group) != (os.geteuid(), os.getegid()):
                os.fchown(handle, owner, group)
            os.fchmod(handle, mode)
            file.write(token + "\n")
            file.flush()
            os.fsync(handle)
        aside.replace(target)
        _sync_folder(target.parent)
    except OSError as exc:
        raise _file_error(path, exc) from exc
    return token


def _ownership(path: Path) -> tuple[int, int, int]:
    """Owner, group and mode that the file has, or is to have: root's, readable by the service's group."""
    try:
        status = path.stat()
    except FileNotFoundError:
        if os.geteuid() != 0:
            return os.geteuid(), os.getegid(), 0o640
        try:
            return 0, pwd.getpwnam(SERVICE_USER).pw_gid, 0o640
        except KeyError:
            return 0, 0, 0o640
    return status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def become_owner(database: Path) -> None:
    """As root: give root up for the user that owns the database's folder. Raises AdminError."""
    try:
        status = database.parent.stat()
    except OSError as exc:
        raise _file_error(database.parent, exc) from exc
    if os.geteuid() != 0 or status.st_uid == 0:
        return
    try:
        groups = os.getgrouplist(pwd.getpwuid(status.st_uid).pw_name, status.st_gid)
    except KeyError:
        groups = [status.st_gid]
    os.setgroups(groups)
    os.setgid(status.st_gid)
    os.setuid(status.st_uid)


def check_database(database: Path) -> None:
    """Raise AdminError unless there is a database that this user may write."""
    try:
        with database.open("r+b"):
            pass
    except OSError as exc:
        raise _file_error(database, exc) from exc


def _file_error(path: Path, exc: OSError) -> AdminError:
    if isinstance(exc, PermissionError):
        hint = f"run it as root, or with: sudo -u {SERVICE_USER} nervectl ..."
    elif isinstance(exc, FileNotFoundError):
        hint = "start the nerve center once, or name its configuration with --config"
    else:
        hint = "check the disk and the path in the configuration"
    return AdminError(f"{exc.filename or path}: {exc.strerror}", hint)
