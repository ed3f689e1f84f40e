"""Our own client over TLS: whom it takes for its servers, and that it never goes on without."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import numpy as np
import pytest
from certificates import Authority
from moving_pair import moving_pair, pressed, type_on
from small_guest import SmallGuest
from waiting import until

import spicehop
from spicehop.errors import ConnectError, LinkError, UsageError
from spicehop.migration.leaving import ClientTarget
from spicehop.server import ServerOptions, SpiceServer, tls_context

CODES = [0x1E + number % 8 for number in range(60)]
SUBJECT = "CN=127.0.0.1"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def tls(authority: Authority) -> ssl.SSLContext:
    pair = authority.pair()
    return tls_context(pair.certificate, pair.key)


def secured(tls: ssl.SSLContext, host: str = "127.0.0.1", password: str | None = None) -> SpiceServer:
    return SpiceServer(SmallGuest(), ServerOptions(host=host, port=None, tls_port=0, tls=tls, password=password))


async def test_all_channels_go_over_tls_with_a_ticket(tls: ssl.SSLContext, authority: Authority) -> None:
    guest = SmallGuest()
    async with SpiceServer(guest, ServerOptions(tls_port=0, tls=tls, password="secret")) as server:
        url = f"spice://127.0.0.1:{server.port}?tls-port={server.tls_port}"
        async with spicehop.connect(url, password="secret", ca_file=authority.certificate) as client:
            assert client.secure
            assert client.server.port == 0
            await until(lambda: np.array_equal(client.screenshot().pixels, guest.screen.pixels))
            await client.keyboard.type("hello")
            await until(lambda: len(guest.keys) == 10)
            (session,) = server.sessions
            assert not client.lost_channels
            assert all(served.stream.secure for served in session.channels.values())
        with pytest.raises(LinkError, match="does not accept the password"):
            async with spicehop.connect(url, password="wrong", ca_file=authority.certificate):
                raise AssertionError("it opened")
        await until(lambda: not list(server.sessions), "the server has seen the session end")


async def test_what_no_known_authority_has_signed_is_refused(tls: ssl.SSLContext, tmp_path: Path) -> None:
    other = Authority(tmp_path, "other").certificate
    async with secured(tls) as server:
        url = f"spice://127.0.0.1?tls-port={server.tls_port}"
        for ca_file in (other, None):
            with pytest.raises(ConnectError) as refused:
                async with spicehop.connect(url, ca_file=ca_file):
                    raise AssertionError("it opened")
            assert "its certificate is not accepted: unable to get local issuer certificate" in str(refused.value)
            assert not list(server.sessions)


async def test_the_certificate_is_the_hosts_or_has_the_subject(tls: ssl.SSLContext, authority: Authority) -> None:
    ca_file = authority.certificate
    async with secured(tls, host="127.0.0.2") as server:
        url = f"spice://127.0.0.2?tls-port={server.tls_port}"
        with pytest.raises(ConnectError, match="not accepted: IP address mismatch, certificate is not valid for"):
            async with spicehop.connect(url, ca_file=ca_file):
                raise AssertionError("it opened")
        with pytest.raises(ConnectError, match=r"its certificate is of another subject: CN=127\.0\.0\.1"):
            async with spicehop.connect(url, ca_file=ca_file, host_subject="CN=127.0.0.2"):
                raise AssertionError("it opened")
        async with spicehop.connect(url, ca_file=ca_file, host_subject=SUBJECT) as client:
            assert client.guest_name == "small"
    with pytest.raises(UsageError, match="names no TLS port"):
        async with spicehop.connect("spice://127.0.0.2", host_subject=SUBJECT):
            raise AssertionError("it opened")


async def test_a_port_without_tls(authority: Authority) -> None:
    async with SpiceServer(SmallGuest()) as server:
        url = f"spice://127.0.0.1?tls-port={server.port}"
        with pytest.raises(ConnectError) as refused:
            async with spicehop.connect(url, ca_file=authority.certificate):
                raise AssertionError("it opened")
        assert str(refused.value) == f"no connection to 127.0.0.1:{server.port}: TLS failed: wrong version number"


@pytest.mark.parametrize("subject", ["", SUBJECT, "CN=another", "what"])
@pytest.mark.parametrize("direct", [False, True], ids=["through the client", "host to host"])
async def test_the_target_is_checked_as_the_source_names_it(
    tmp_path: Path, tls: ssl.SSLContext, authority: Authority, direct: bool, subject: str
) -> None:
    """The wrong one is not used, and the session stays where it is as long as its server does."""
    right = subject in ("", SUBJECT)
    async with moving_pair(tmp_path, direct=direct, tls=tls) as pair:
        pair.subject = subject
        url = f"spice://127.0.0.1?tls-port={pair.source.server.tls_port}"
        async with spicehop.connect(url, ca_file=authority.certificate) as client:
            await type_on(client, CODES)
            if not right:
                pair.source.control.migration.name_client_target(pair.target_address)
                await until(lambda: bool(failures(client)), "the target is refused")
                assert ("of another subject" in failures(client)[0]) is (subject == "CN=another")
                await type_on(client, CODES)
                await until(lambda: pressed(pair.source) == CODES * 2, "all keys")
                return
            await pair.name_target()
            pair.move()
            await until(lambda: bool(pair.source.completed()), "the clients are gone")
            (outcome,) = pair.source.completed()[0]["clients"]  # type: ignore[misc]
            assert (outcome["scheme"], outcome["outcome"]) == ("seamless", "moved")
            await type_on(client, CODES)
            await until(lambda: pressed(pair.source, pair.target) == CODES * 2, "all keys")
            assert client.secure
            assert client.server.port == 0


def failures(client: spicehop.client.Session) -> list[str]:
    """Why targets could not be used."""
    target = client.core.travel.target
    return [target.reason] if target is not None and target.reason else []


async def test_a_session_over_tls_does_not_go_on_without(
    tmp_path: Path, tls: ssl.SSLContext, authority: Authority
) -> None:
    """Its source is told of a target without a TLS port, which listens there without TLS."""
    async with moving_pair(tmp_path, direct=False, tls=tls) as pair, SpiceServer(SmallGuest()) as plain:
        url = f"spice://127.0.0.1?tls-port={pair.source.server.tls_port}"
        async with spicehop.connect(url, ca_file=authority.certificate) as client:
            pair.source.control.migration.name_client_target(ClientTarget("127.0.0.1", plain.port, 0))
            await until(lambda: bool(failures(client)), "the target is refused")
            assert "it has no TLS port, and the session goes nowhere without TLS" in failures(client)[0]
            await type_on(client, CODES)
            await until(lambda: pressed(pair.source) == CODES, "all keys")
            await asyncio.sleep(0.1)
            assert not list(plain.sessions)


async def test_a_session_without_tls_goes_to_a_target_that_has_nothing_else(
    tmp_path: Path, tls: ssl.SSLContext, authority: Authority
) -> None:
    async with secured(tls) as target, moving_pair(tmp_path, direct=False) as pair:
        url = f"spice://127.0.0.1:{pair.source.server.port}"
        async with spicehop.connect(url, ca_file=authority.certificate) as client:
            assert not client.secure
            pair.source.control.migration.name_client_target(ClientTarget("127.0.0.1", 0, target.tls_port))
            pair.move()
            await until(lambda: client.secure, "it is there")
            await until(lambda: client.guest_name == "small")
