"""Unix sockets of mode 0600 that take nothing from anybody."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

from spicehop.errors import ConnectError


class PrivateSocket:
    """A Unix socket at `path`, for this user alone."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._identity: tuple[int, int] | None = None

    def bind(self) -> socket.socket:
        """The bound socket; nobody can connect before it listens, and then the mode holds.

        What a server that has gone left there is replaced. `ConnectError` when somebody listens there, or when what is
        there is no socket.
        """
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._clear()
            bound.bind(str(self._path))
            self._path.chmod(0o600)
        except OSError as error:
            bound.close()
            raise ConnectError(f"there can be no socket at {self._path}: {system_reason(error)}") from None
        except BaseException:
            bound.close()
            raise
        self._identity = self._found()
        return bound

    def remove(self) -> None:
        """Remove it, unless somebody else has put another one there."""
        if self._identity is not None and self._found() == self._identity:
            self._path.unlink()
        self._identity = None

    def _clear(self) -> None:
        """Remove a socket on which nobody listens."""
        try:
            found = self._path.lstat()
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(found.st_mode):
            raise ConnectError(f"{self._path} is there and is no socket; remove it, or name another path")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(1.0)
            try:
                probe.connect(str(self._path))
            except ConnectionRefusedError:
                self._path.unlink()
                return
        raise ConnectError(f"another program listens at {self._path}; name another path")

    def _found(self) -> tuple[int, int] | None:
        try:
            found = self._path.lstat()
        except OSError:
            return None
        return found.st_dev, found.st_ino


def system_reason(error: OSError) -> str:
    """The system's words, without the address that asyncio puts in front of them."""
    number = error.errno or 0
    return os.strerror(number) if number > 0 else error.strerror or str(error)
