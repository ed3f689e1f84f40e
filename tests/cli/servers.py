"""Servers that misbehave, each on a free port of the loopback interface, for as long as a block lasts."""

from __future__ import annotations

import socket
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from certificates import Authority

from spicehop.wire.link import Capabilities, LinkReply


@contextmanager
def _at_work(serve: Callable[[], None]) -> Iterator[None]:
    """`serve` runs in a thread, which is waited for at the end."""
    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        thread.join()


@contextmanager
def serving(answer: bytes | None, *, close: bool = True) -> Iterator[str]:
    """A server that reads a little, sends `answer` and closes; with None it says nothing at all."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stop = threading.Event()
        clients: list[socket.socket] = []

        def serve() -> None:
            listener.settimeout(0.05)
            while not stop.is_set():
                try:
                    client, _ = listener.accept()
                except TimeoutError:
                    continue
                clients.append(client)
                if answer is not None:
                    client.recv(4096)
                    client.sendall(answer)
                    if close:
                        client.shutdown(socket.SHUT_WR)

        try:
            with _at_work(serve):
                try:
                    yield f"127.0.0.1:{listener.getsockname()[1]}"
                finally:
                    stop.set()
        finally:
            for client in clients:
                client.close()


@contextmanager
def unknown_to_all() -> Iterator[str]:
    """A server over TLS whose authority nobody knows."""
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as listener:
        pair = Authority(Path(folder)).pair()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)

        def serve() -> None:
            try:
                client, _ = listener.accept()
                with client, context.wrap_socket(client, server_side=True):
                    pass
            except OSError:  # the client has hung up
                pass

        with _at_work(serve):
            yield f"spice+tls://127.0.0.1:{listener.getsockname()[1]}"


def free_port() -> int:
    """A port of the loopback interface on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


GARBAGE = b"HTTP/1.1 400 Bad Request\r\n\r\n"
REFUSAL = LinkReply(5, b"", Capabilities()).encode()
"""A link reply with NEED_SECURED."""
