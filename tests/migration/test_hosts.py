"""What a session takes of the address that a source names, with TLS and without."""

from __future__ import annotations

import pytest

from spicehop.migration.commands import Address
from spicehop.migration.hosts import HostMap
from spicehop.migration.session import ClientSession
from spicehop.wire import main


@pytest.mark.parametrize(
    ("mapping", "ports", "plain", "secure"),
    [
        ({}, (1, 2), Address("there", 1, 2, "CN=x"), Address("there", 0, 2, "CN=x")),
        ({}, (1, 65535), Address("there", 1, 0, "CN=x"), Address("there", 0, 0, "CN=x")),
        ({}, (0, 2), Address("there", 0, 2, "CN=x"), Address("there", 0, 2, "CN=x")),
        ({"there": "here"}, (1, 2), Address("here", 1, 2, "CN=x"), Address("here", 0, 2, "CN=x")),
        ({"there:2": "here:9"}, (1, 2), Address("there", 1, 2, "CN=x"), Address("here", 0, 9, "CN=x")),
        ({"there:1": "here:9"}, (1, 2), Address("here", 9, 2, "CN=x"), Address("there", 0, 2, "CN=x")),
    ],
)
def test_a_session_over_tls_goes_to_tls_ports_only(
    mapping: dict[str, str], ports: tuple[int, int], plain: Address, secure: Address
) -> None:
    message = main.MigrateBegin(*ports, b"there", b"CN=x\0")
    hosts = HostMap(mapping)
    assert hosts.target(message) == plain
    assert hosts.target(message, secure=True) == secure


def test_a_server_with_both_ports_is_used_over_tls() -> None:
    session = ClientSession(Address("here", 1, 2))
    assert session.secure
    assert session.address == Address("here", 0, 2)
    assert not ClientSession(Address("here", 1)).secure
