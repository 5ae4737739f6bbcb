"""Where a database is: the path of an SQLite file, or the URL of a database of PostgreSQL.

Two more things follow from it: how it is called before people, without what is secret, and, of a file, what it is known
by, to tell that it was deleted or replaced while in use.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import text
from sqlalchemy.engine import URL, Connection

Place = Path | URL


def shown(place: Place) -> str:
    """The database by a name for people and logs: no password, and nothing of a URL's parameters but hosts."""
    if isinstance(place, Path):
        return str(place)
    hosts = [place.host] if place.host else []
    more = place.query.get("host", ())
    hosts += [more] if isinstance(more, str) else list(more)
    user = f"{place.username}@" if place.username else ""
    port = f":{place.port}" if place.port else ""
    return f"postgresql://{user}{','.join(hosts)}{port}/{place.database or ''}"


def file_id(place: Place) -> tuple[int, int] | None:
    """Device and inode of the file, None where there is none. Raises PermissionError."""
    if not isinstance(place, Path):
        return None
    try:
        found = place.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def size(connection: Connection, place: Place) -> int | None:
    """How many bytes the database takes on disk, without its log; None where nobody can say."""
    if isinstance(place, Path):
        try:
            return place.stat().st_size
        except OSError:
            return None
    return int(connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one())
