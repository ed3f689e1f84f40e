"""SASL at a real server over TLS: logging in, being refused, and leaving half-way."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator

import pytest
from certificates import Authority
from sasl_client import SaslClient, plain, scram
from small_guest import SmallGuest

from spicehop.channels.serving.sasl import MECHANISMS, PLAIN, SCRAM, SaslUsers, Verifier
from spicehop.server import ServerOptions, SpiceServer, tls_context
from spicehop.wire.constants import ChannelType, LinkResult
from spicehop.wire.link import Capabilities, LinkMessage

USERS = {"anna": Verifier.of("secret", b"0123456789abcdef", 4096)}
SHORT = 5.0


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
async def server(authority: Authority) -> AsyncIterator[SpiceServer]:
    pair = authority.pair()
    users = SaslUsers(USERS, nonce=lambda: "fresh", secret=bytes(32))
    tls = tls_context(pair.certificate, pair.key)
    async with SpiceServer(SmallGuest(), ServerOptions(port=0, tls_port=0, tls=tls, sasl=users)) as server:
        yield server


async def client(server: SpiceServer, authority: Authority) -> SaslClient:
    context = ssl.create_default_context(cafile=authority.certificate)
    return SaslClient(*await asyncio.open_connection("127.0.0.1", server.tls_port, ssl=context))


@pytest.mark.parametrize("mechanism", MECHANISMS)
async def test_logging_in(server: SpiceServer, authority: Authority, mechanism: str) -> None:
    one = await client(server, authority)
    answer = {PLAIN: plain, SCRAM: scram}[mechanism]("anna", "secret")
    assert await asyncio.wait_for(one.log_in(mechanism, answer), SHORT) == LinkResult.OK
    assert len(server.sessions) == 1
    one.writer.close()


async def test_the_mechanisms_are_listed_best_first(server: SpiceServer, authority: Authority) -> None:
    one = await client(server, authority)
    assert await one.offer() == b",SCRAM-SHA-256,PLAIN,"
    one.writer.close()


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize(("name", "password"), [("anna", "wrong"), ("nobody", "secret")])
async def test_who_is_refused_is_told_nothing(
    server: SpiceServer, authority: Authority, mechanism: str, name: str, password: str
) -> None:
    one = await client(server, authority)
    answer = {PLAIN: plain, SCRAM: scram}[mechanism](name, password)
    with pytest.raises(asyncio.IncompleteReadError) as caught:
        await asyncio.wait_for(one.log_in(mechanism, answer), SHORT)
    assert caught.value.partial == b""
    assert len(server.sessions) == 0
    one.writer.close()


async def test_without_tls_there_is_no_sasl(server: SpiceServer) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(LinkMessage(0, ChannelType.MAIN, 0, Capabilities()).encode())
    reply = await asyncio.wait_for(reader.read(), SHORT)
    assert reply[16:20] == bytes([LinkResult.NEED_SECURED, 0, 0, 0])
    writer.close()


@pytest.mark.parametrize("steps", range(4))
async def test_leaving_after_each_step(server: SpiceServer, authority: Authority, steps: int) -> None:
    one = await client(server, authority)
    if steps > 0:
        await one.offer()
    if steps > 1:
        one.choose(SCRAM)
    if steps > 2:
        one.say(scram("anna", "secret")(None))
        await one.challenge()
    one.writer.close()
    await test_logging_in(server, authority, SCRAM)


@pytest.mark.parametrize(
    "data",
    [b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x05\0\0\0FRO\0B", b"\x0b\0\0\0SCRAM-SHA-2", b"\x06\0\0\0PLAIN,"],
    ids=["huge", "empty", "unknown", "half a name", "a comma"],
)
async def test_a_mechanism_that_was_not_offered(server: SpiceServer, authority: Authority, data: bytes) -> None:
    one = await client(server, authority)
    await one.offer()
    one.writer.write(data)
    assert await asyncio.wait_for(one.reader.read(), SHORT) == b""
    one.writer.close()
    await test_logging_in(server, authority, SCRAM)
