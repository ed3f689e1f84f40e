"""Server addresses as people write them."""

from __future__ import annotations

import pytest

from spicehop.client.address import parse_url, with_subject
from spicehop.errors import UsageError
from spicehop.migration.commands import Address


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("spice://host:5901", Address("host", 5901)),
        ("spice://host", Address("host", 5900)),
        ("spice://host/", Address("host", 5900)),
        ("spice://host:", Address("host", 5900)),
        ("spice://HOST.example:1", Address("host.example", 1)),
        ("spice://192.0.2.7:65535", Address("192.0.2.7", 65535)),
        ("spice://[::1]:5901", Address("::1", 5901)),
        ("spice://[fe80::1]", Address("fe80::1", 5900)),
        ("spice://host?port=5901", Address("host", 5901)),
        ("spice://host?tls-port=5902", Address("host", 0, 5902)),
        ("spice://host:5901/?tls-port=5902", Address("host", 0, 5902)),
        ("spice://host?port=5901&tls-port=5902", Address("host", 0, 5902)),
        ("spice+tls://[::1]:5902", Address("::1", 0, 5902)),
    ],
)
def test_addresses(url: str, address: Address) -> None:
    assert parse_url(url) == address


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("", "is not a SPICE address"),
        ("host:5900", "is not a SPICE address"),
        ("vnc://host:5900", "must begin with spice://"),
        ("spice://", "names no host"),
        ("spice://:5900", "names no host"),
        ("spice://ho st:5900", "names no host"),
        ("spice://host:0", "has no valid port"),
        ("spice://host:65536", "has no valid port"),
        ("spice://host:-1", "has no valid port"),
        ("spice://host:port", "has no valid port"),
        ("spice://[::1:5900", "has no valid port"),
        ("spice://host?tls-port=0", "has no valid port"),
        ("spice://host?tls-port=", "has no valid port"),
        ("spice://host?tls-port=-1", "has no valid port"),
        ("spice://host?tls-port=70000", "has no valid port"),
        ("spice://host?tls-port=1&tls-port=2", "has no valid port"),
        ("spice://host:1?port=2", "has no valid port"),
        ("spice+tls://host", "names no port"),
        ("spice+tls://host:1?tls-port=2", "has no valid port"),
        ("spice://host:1?password=secret", "does not belong into the address"),
        ("spice://me@host:5900", "does not belong into the address"),
        ("spice://me:secret@host:5900", "does not belong into the address"),
        ("spice://host:5900/path", "goes on behind the port"),
        ("spice://host:5900?tls=1", "goes on behind the port"),
        ("spice://host:5900#here", "goes on behind the port"),
    ],
)
def test_what_is_no_address(url: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence) as refused:
        parse_url(url)
    assert refused.value.exit_code == 2
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (Address("host", 1), "host:1"),
        (Address("::1", 1), "[::1]:1"),
        (Address("host", 0, 2), "host:2"),
    ],
)
def test_addresses_in_sentences(address: Address, text: str) -> None:
    assert str(address) == text


def test_a_subject_is_of_a_certificate() -> None:
    assert with_subject(Address("host", 0, 2), "CN=there") == Address("host", 0, 2, "CN=there")
    with pytest.raises(UsageError, match="names no TLS port"):
        with_subject(Address("host", 1), "CN=there")
    with pytest.raises(UsageError, match="'there' is no subject of a certificate: a subject is written as in"):
        with_subject(Address("host", 0, 2), "there")
