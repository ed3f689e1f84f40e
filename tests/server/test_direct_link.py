"""The direct link's connections, over Unix sockets and TLS on loopback, in one process."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from waiting import until

from spicehop.errors import ConnectError, StateError, UsageError
from spicehop.migration import link_end
from spicehop.server import direct_link
from spicehop.server.direct_link import DirectLink, DirectLinkCall, DirectLinkDoor
from spicehop.server.link_identity import LinkIdentity, PeerCertificate
from spicehop.server.uri import Address
from spicehop.wire import direct_link as wire

OFFER = wire.SessionOffered(7, ((1, 0), (2, 0)))
EXPECT = wire.SessionExpected(7)
HELLO = wire.PREAMBLE + wire.encode_frame(wire.Hello(1, 1, "guest"))


class Log:
    """What a link has told its user."""

    def __init__(self) -> None:
        self.messages: list[wire.LinkMessage] = []
        self.reasons: list[str] = []
        self.drained = 0

    def hook(self, link: DirectLink) -> None:
        link.message_received = self.messages.append
        link.closed = self.reasons.append
        link.drained = self._drained

    def _drained(self) -> None:
        self.drained += 1


class Target:
    """A door with what it has told."""

    def __init__(self, name: str = "guest") -> None:
        self.identity = LinkIdentity()
        self.door = DirectLinkDoor(name, time.monotonic, self.identity, self._changed)
        self.log = Log()
        self.seen: list[bool] = []
        self.refusals: list[str] = []
        self.door.refused = self.refusals.append
        self.address: Address = ("", 0)

    @property
    def link(self) -> DirectLink:
        assert self.door.link is not None
        return self.door.link

    def _changed(self) -> None:
        self.seen.append(self.door.link is not None)
        if self.door.link is not None:
            self.log.hook(self.door.link)


Way = tuple[Target, Callable[..., Awaitable[DirectLink]]]


@pytest.fixture(params=["unix", "tcp", "tcp6"])
async def way(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Way]:
    """A door, and a function that calls there with the right certificate."""
    target, source, calls = Target(), LinkIdentity(), []
    hosts = {"tcp": "127.0.0.1", "tcp6": "::1"}
    given = None if request.param == "unix" else PeerCertificate(source.pem)
    where: Address = tmp_path / "link" if given is None else (hosts[request.param], 0)
    target.address = await target.door.open(where, given)

    async def call(name: str = "guest", log: Log | None = None) -> DirectLink:
        made = DirectLinkCall(name, time.monotonic, source)
        calls.append(made)
        wanted = None if given is None else PeerCertificate(target.identity.pem)
        link = await made.connect(target.address, wanted)
        if log is not None:
            log.hook(link)
        return link

    async with asyncio.timeout(60):
        yield target, call
        for made in calls:
            await made.close("the test ends")
        await target.door.close("the test ends")


@pytest.fixture
async def unix(tmp_path: Path) -> AsyncIterator[Target]:
    target = Target()
    target.address = await target.door.open(tmp_path / "link")
    async with asyncio.timeout(60):
        yield target
        await target.door.close("the test ends")


async def test_messages_go_both_ways(way: Way) -> None:
    target, call = way
    log = Log()
    link = await call(log=log)
    await until(lambda: target.seen == [True])
    link.send(OFFER)
    target.link.send(EXPECT)
    target.link.send(wire.GuestRuns())
    await until(lambda: len(log.messages) == 2 and len(target.log.messages) == 1)
    assert target.log.messages == [OFFER]
    assert log.messages == [EXPECT, wire.GuestRuns()]
    with pytest.raises(StateError):
        link.send(EXPECT)
    assert link.is_open


async def test_a_large_state_goes_and_what_waits_is_seen(way: Way) -> None:
    """Nothing of it stands in the way of the loop for long."""
    target, call = way
    log = Log()
    link = await call(log=log)
    envelope = bytes(range(256)) * (64 << 12)  # 64 MiB
    link.send(wire.StateAhead(7, envelope))
    link.send(wire.SessionHanded(7, b"end"))
    assert link.bytes_queued > 60 << 20
    longest, last = 0.0, time.monotonic()
    while len(target.log.messages) < 2:
        await asyncio.sleep(0)
        longest, last = max(longest, time.monotonic() - last), time.monotonic()
    assert longest < 1.0
    first = target.log.messages[0]
    assert isinstance(first, wire.StateAhead)
    assert first.envelope == envelope
    await until(lambda: log.drained > 0 and link.bytes_queued == 0)


async def test_a_close_is_told_behind_what_was_sent(way: Way) -> None:
    target, call = way
    log = Log()
    link = await call(log=log)
    for number in range(100):
        link.send(wire.LateBytes(number, 3, 0, bytes(10_000)))
    link.close("management has closed it")
    assert log.reasons == ["management has closed it"]
    link.send(OFFER)
    await link.wait_gone()
    await until(lambda: bool(target.log.reasons))
    assert target.log.reasons == ["management has closed it"]
    assert len(target.log.messages) == 100
    assert target.seen == [True, False]
    assert not link.is_open


async def test_a_goodbye_overtakes_nothing_and_is_not_lost_to_a_reset(way: Way) -> None:
    """Also when the other side is sending all the while."""
    target, call = way
    log = Log()
    link = await call(log=log)
    await until(lambda: target.door.link is not None)
    for _ in range(50):
        link.send(wire.LateBytes(7, 3, 0, bytes(100_000)))
    target.link.close("enough")
    await until(lambda: bool(log.reasons))
    assert log.reasons == ["enough"]


@pytest.mark.parametrize("way", ["tcp"], indirect=True)
async def test_a_source_that_has_lost_its_connection_comes_anew(way: Way) -> None:
    """Its certificate says who it is; the network may tell the target later than the source."""
    target, call = way
    first = Log()
    await call(log=first)
    await until(lambda: target.seen == [True])
    again = await call()
    await until(lambda: target.seen == [True, False, True])
    again.send(OFFER)
    await until(lambda: target.log.messages == [OFFER])
    assert first.reasons == ["the source has come anew"]


@pytest.mark.parametrize("way", ["unix"], indirect=True)
async def test_a_second_source_is_told_that_one_is_here(way: Way) -> None:
    target, call = way
    first = await call()
    with pytest.raises(ConnectError, match="another source is here"):
        await call()
    assert first.is_open
    assert target.door.link is not None
    first.close("done")
    await until(lambda: target.door.link is None)
    assert (await call()).is_open


async def test_another_guest_is_refused_with_its_name(way: Way) -> None:
    target, call = way
    with pytest.raises(ConnectError, match="the source's guest is 'other', the target's 'guest'"):
        await call("other")
    await until(lambda: bool(target.refusals))
    assert target.seen == []
    assert (await call()).is_open


async def test_tcp_has_no_delay(way: Way) -> None:
    target, call = way
    link = await call()
    assert link._transport is not None
    sock = link._transport.get_extra_info("socket")
    if sock.family == socket.AF_UNIX:
        assert isinstance(target.address, Path)
        assert os.stat(target.address).st_mode & 0o777 == 0o600
    else:
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert link._transport.get_extra_info("ssl_object").version() == "TLSv1.3"


# -- certificates ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", ["source", "target"])
async def test_a_wrong_certificate_ends_only_its_connection(wrong: str) -> None:
    target, source, stranger = Target(), LinkIdentity(), LinkIdentity()
    address = await target.door.open(("127.0.0.1", 0), PeerCertificate(source.pem))
    mine, theirs = (stranger, target.identity) if wrong == "source" else (source, stranger)
    call = DirectLinkCall("guest", time.monotonic, mine)
    sentences = {"source": "perhaps it was given another certificate", "target": "has another certificate than the one"}
    with pytest.raises(ConnectError, match=sentences[wrong]):
        await call.connect(address, PeerCertificate(theirs.pem))
    await until(lambda: bool(target.refusals))
    right = DirectLinkCall("guest", time.monotonic, source)
    link = await right.connect(address, PeerCertificate(target.identity.pem))
    assert link.is_open
    await right.close("")
    await target.door.close("")


async def test_tls_without_a_certificate_and_older_tls_are_refused() -> None:
    target, source = Target(), LinkIdentity()
    address = await target.door.open(("127.0.0.1", 0), PeerCertificate(source.pem))
    assert isinstance(address, tuple)
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.check_hostname, bare.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(*address, ssl=bare)
    assert await reader.read() == b""
    writer.close()
    old = source.connecting(PeerCertificate(target.identity.pem))
    old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2
    with pytest.raises(OSError):  # noqa: PT011
        await asyncio.open_connection(*address, ssl=old, server_hostname="x")
    reader, writer = await asyncio.open_connection(*address)
    writer.write(HELLO)
    assert wire.PREAMBLE not in await reader.read()
    writer.close()
    await until(lambda: len(target.refusals) == 3)
    assert target.door.link is None
    await target.door.close("")


async def test_over_tcp_there_is_a_certificate() -> None:
    target = Target()
    with pytest.raises(UsageError, match="'certificate' is missing"):
        await target.door.open(("127.0.0.1", 0))
    with pytest.raises(UsageError, match="'certificate' is missing"):
        await DirectLinkCall("guest", time.monotonic, LinkIdentity()).connect(("127.0.0.1", 1))


async def test_a_unix_socket_may_have_tls_too(tmp_path: Path) -> None:
    target, source = Target(), LinkIdentity()
    await target.door.open(tmp_path / "link", PeerCertificate(source.pem))
    call = DirectLinkCall("guest", time.monotonic, source)
    assert (await call.connect(tmp_path / "link", PeerCertificate(target.identity.pem))).is_open
    await call.close("")
    await target.door.close("")


BROKEN = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize("pem", ["", "x", BROKEN, "x" * 20_000, "\ud800"])
def test_what_is_no_certificate(pem: str) -> None:
    with pytest.raises(UsageError, match="expects one certificate in PEM"):
        PeerCertificate(pem)


def test_two_certificates_are_not_one() -> None:
    with pytest.raises(UsageError):
        PeerCertificate(LinkIdentity().pem + LinkIdentity().pem)


def test_a_certificate_stays_and_tells_no_key() -> None:
    identity = LinkIdentity()
    assert identity.pem == identity.pem
    assert identity.pem.count("BEGIN") == 1
    assert "PRIVATE" not in identity.pem


# -- peers that do not keep to it --------------------------------------------------------------------------------------


async def raw(target: Target) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_unix_connection(str(target.address))


async def goodbye(reader: asyncio.StreamReader) -> str:
    """The reason with which a connection ends."""
    frames = wire.FrameReader(wire.Side.TARGET)
    frames.feed(await reader.read())
    last = None
    while (message := frames.next_message()) is not None:
        last = message
    assert isinstance(last, wire.Goodbye)
    return last.reason


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"REDQ" + bytes(40), "not the direct link"),
        (HELLO + bytes(8), "kind 0 is not known"),
        (HELLO + b"\x11\0\0\0\xff\xff\xff\xff", "a StateAhead of 4294967295 bytes was announced"),
        (HELLO + HELLO[len(wire.PREAMBLE) :], "Hello received is not possible"),
        (HELLO + wire.encode_frame(EXPECT), "a source does not send SessionExpected"),
    ],
)
async def test_a_peer_at_fault_is_told_and_the_door_stays_open(unix: Target, data: bytes, sentence: str) -> None:
    reader, writer = await raw(unix)
    writer.write(data)
    # The other side closes first, as it would by itself after a Goodbye.
    await until(lambda: unix.door._taken is None and bool(unix.log.reasons or unix.refusals))
    writer.write_eof()
    assert sentence in await goodbye(reader)
    writer.close()
    link = await DirectLinkCall("guest", time.monotonic, LinkIdentity()).connect(unix.address)
    assert link.is_open
    link.close("")


async def test_a_connection_that_ends_in_the_middle_of_a_message(unix: Target) -> None:
    _, writer = await raw(unix)
    writer.write(HELLO + wire.encode_frame(OFFER) + wire.encode_frame(OFFER)[:-1])
    await until(lambda: unix.log.messages == [OFFER])
    writer.close()
    await until(lambda: bool(unix.log.reasons))
    assert unix.log.reasons == ["the other server has closed the connection, in the middle of a message"]


async def test_a_peer_that_falls_silent_is_gone(unix: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_end, "SILENCE_SECONDS", 0.6)
    monkeypatch.setattr(link_end, "KEEP_ALIVE_SECONDS", 0.15)
    monkeypatch.setattr(direct_link, "CLOSE_SECONDS", 0.2)
    reader, writer = await raw(unix)
    writer.write(HELLO)
    await until(lambda: unix.log.reasons == ["the source has been silent for 0.6 s"])
    assert await goodbye(reader) == "the source has been silent for 0.6 s"
    writer.close()
    link = await DirectLinkCall("guest", time.monotonic, LinkIdentity()).connect(unix.address)
    await asyncio.sleep(1.5)
    assert link.is_open, link.reason
    link.close("")


async def test_a_peer_that_never_says_hello_is_gone(unix: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """And so is a target that does not, for the source."""
    monkeypatch.setattr(link_end, "HELLO_SECONDS", 0.3)
    _, writer = await raw(unix)
    await until(lambda: bool(unix.refusals))
    assert unix.refusals[0].endswith("the source has not said Hello within 0.3 s")
    writer.close()
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(unix.address) + "2")
        deaf.listen()
        with pytest.raises(ConnectError, match="the target has not said Hello within"):
            await DirectLinkCall("guest", time.monotonic, LinkIdentity()).connect(Path(str(unix.address) + "2"))


async def test_a_peer_that_reads_nothing_costs_a_bounded_queue(unix: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct_link, "MAX_QUEUED", 4 << 20)
    monkeypatch.setattr(direct_link, "CLOSE_SECONDS", 0.2)
    _, writer = await raw(unix)
    writer.write(HELLO)
    await until(lambda: unix.door.link is not None)
    link = unix.link
    for _ in range(8):
        link.send(wire.ChannelReturned(7, 3, 0, bytes(1 << 20)))
    assert unix.log.reasons == ["the other server does not take what is sent"]
    await link.wait_gone()
    assert link.bytes_queued == 0
    writer.close()


async def test_a_cancelled_call_leaves_nothing(unix: Target) -> None:
    _, writer = await raw(unix)  # takes the seat, and says nothing
    call = DirectLinkCall("guest", time.monotonic, LinkIdentity())
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(unix.address) + "2")
        deaf.listen()
        work = asyncio.ensure_future(call.connect(Path(str(unix.address) + "2")))
        await asyncio.sleep(0.1)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
    await call.close("")
    assert call.link is None
    writer.close()


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        (Path("/nowhere/link"), "No such file or directory"),
        (("127.0.0.1", 1), "Connection refused"),
        (("a" * 70 + ".invalid", 1), "no host's name"),
    ],
)
async def test_nobody_is_there(address: Address, sentence: str) -> None:
    other = PeerCertificate(LinkIdentity().pem) if isinstance(address, tuple) else None
    with pytest.raises(ConnectError, match=sentence):
        await DirectLinkCall("guest", time.monotonic, LinkIdentity()).connect(address, other)


async def test_a_place_that_is_taken(unix: Target) -> None:
    with pytest.raises(ConnectError, match="another program listens at"):
        await Target().door.open(unix.address)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(ConnectError, match="Address already in use"):
            await Target().door.open(other.getsockname(), PeerCertificate(LinkIdentity().pem))
