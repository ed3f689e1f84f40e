"""The agent's stream as libspice-server hands it over on the main channel, MNMD (dossier C4, C6 4.1, D).

    body = layout_of_main(hub.client_state(client), hub.device_state())    # for a target that may be libspice
    client, device = main_from(body)                                      # of a source that was libspice

libspice's layout has no place for bytes that have been read for the client and not written to it. So a server that
leaves for libspice first gives the client all that it has, as slices as short as they are, down to what precedes the
end of a message header; it writes all that is queued; then it says MIGRATE. `StateError` is raised for what is left.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import replace

from spicehop.channels.serving.agent_parts import AgentClientState, AgentDeviceState, Slice, goes_whole
from spicehop.channels.serving.agent_routing import MAX_MESSAGE, MessageHead
from spicehop.channels.serving.channel import ChannelState, QueuedMessage
from spicehop.channels.serving.main import MainState
from spicehop.errors import ProtocolError, StateError
from spicehop.wire import main, registry
from spicehop.wire.agent_constants import CLIENT_TOKENS, AgentPort
from spicehop.wire.agent_stream import AGENT_HEADER_SIZE, CHUNK_HEADER_SIZE, encode_chunk
from spicehop.wire.constants import AGENT_CHUNK_BYTES, ChannelType, Direction, MouseMode
from spicehop.wire.layout import Data, Reader
from spicehop.wire.migration_data import (
    MAIN_LIMIT,
    NO_DEVICE,
    VERSION,
    DeviceState,
    FilterResult,
    MainMigrationData,
)

NO_MODES = 0
UNKNOWN_TYPE = 0
"""The type of a message of which only the rest is known."""
NO_CLIENT = AgentClientState(False, 0, CLIENT_TOKENS, 0, (), None, 0, False, None, ())
NO_AGENT = AgentDeviceState(False, b"", 0, 0, None, 0, False)
_SIZE = 65
_HEADER_POINTER = 51
_TOO_FAR = 2
"""Bytes by which libspice as the target reads behind the pointer to a partial message header."""
_U32 = struct.Struct("<I")
_WORDS = struct.Struct("<II")


# -- towards libspice -----------------------------------------------------------------------------------------------


def layout_of_main(
    client: AgentClientState | None, device: AgentDeviceState | None, *, queued: Iterable[QueuedMessage] = ()
) -> bytes:
    """The body of MIGRATE_DATA; without an agent at the device, both may be None.

    `queued` is what the main channel holds back: tokens in it count as not given. `StateError` when something would be
    lost, or the session would stall at the target.
    """
    if device is None or not device.connected:
        return MainMigrationData(NO_DEVICE, 0, 0, 0, 0, 0, b"", 0, 0, 0, 0).encode()
    client = client or NO_CLIENT
    remaining = client.left if client.started and client.head is not None else 0
    header_bytes, port, chunk_remaining, partial = _reading(device)
    in_message = device.head is not None and bool(device.chunk_left)
    data = MainMigrationData(
        agent=_agent_device(client, queued),
        client_agent_started=int(client.started),
        chunk_header_bytes=header_bytes,
        chunk_port=port,
        chunk_remaining=chunk_remaining,
        message_header_done=int(in_message),
        message_header=partial,
        a2c_remaining=_without_header(device) if in_message else 0,
        a2c_filter=FilterResult.DISCARD if device.dropped else FilterResult.OK,
        c2a_remaining=remaining,
        c2a_filter=FilterResult.DISCARD if remaining and client.dropped else FilterResult.OK,
    )
    body = bytearray(data.encode())
    if partial:
        # reds.cpp:reds_agent_state_restore takes the header of messages off the pointer instead of that of the data.
        (pointer,) = _U32.unpack_from(body, _HEADER_POINTER)
        _U32.pack_into(body, _HEADER_POINTER, pointer - _TOO_FAR)
    return bytes(body)


def _agent_device(client: AgentClientState, queued: Iterable[QueuedMessage]) -> DeviceState:
    """Tokens are the client's, on the way with what is to be written, or free: `restore` takes the rest for free.

    libspice gives free tokens only when a write is done. So all that the client lacks is the price of what is written.
    """
    if client.outlet:
        raise StateError(f"{sum(map(len, client.outlet))} bytes of the agent wait for the client's tokens")
    write_data = b"".join(_write_data(client))
    known = client.inlet_tokens + client.owed + sum(not piece.credited for piece in client.slices)
    if client.started and known != CLIENT_TOKENS:
        raise StateError(f"{known} tokens of the agent are known of, and there are {CLIENT_TOKENS}")
    held = client.inlet_tokens - _tokens(queued)
    if held < 0 or (not held and not write_data):
        raise StateError("the client needs its tokens for the agent before it leaves: libspice would not give it any")
    price = CLIENT_TOKENS - held if write_data else 0
    return DeviceState(VERSION, 1, held, client.tokens if client.started else 0, price, write_data)


def _write_data(client: AgentClientState) -> Iterator[bytes]:
    """What the device has not taken, a chunk for each slice."""
    yield from (piece.chunk() for piece in client.slices)
    # A message that is read here and goes on when it is whole: its beginning has to go as it came.
    if client.collected and not client.dropped and client.head is not None and goes_whole(client.head):
        for start in range(0, len(client.collected), AGENT_CHUNK_BYTES):
            yield encode_chunk(AgentPort.CLIENT, client.collected[start : start + AGENT_CHUNK_BYTES])


def _tokens(queued: Iterable[QueuedMessage]) -> int:
    """The tokens among messages that are not written; other words of the server libspice has its own of."""
    tokens = 0
    for one in queued:
        match registry.decode(ChannelType.MAIN, Direction.FROM_SERVER, one.number, one.body):
            case main.AgentToken() as message:
                tokens += message.tokens
            case main.AgentData():
                raise StateError("a slice of the agent is queued: it must be written before the channel leaves")
            case _:
                pass
    return tokens


def _reading(device: AgentDeviceState) -> tuple[int, int, int, bytes]:
    """How far the reading of a chunk is: bytes of its header, its two words, the bytes read of a message header."""
    size = len(device.partial)
    if device.collected:
        raise StateError(f"{len(device.collected)} bytes of the agent's capabilities are held")
    if not device.chunk_left:
        if size >= CHUNK_HEADER_SIZE:
            raise StateError(f"{size} bytes of the agent have not been looked at")
        # Between two chunks of a message libspice as a source ends its process (results, B1). As a target it takes the
        # next chunk for a message, finds that it is none, drops the agent, and the client hears that it is gone.
        port, remaining = _WORDS.unpack(device.partial.ljust(CHUNK_HEADER_SIZE, b"\0"))
        return size, port, remaining, b""
    if device.chunk_open:
        raise StateError("the length of the agent's chunk is not known before its message's header is here")
    if device.chunk_port != AgentPort.CLIENT:
        return CHUNK_HEADER_SIZE, AgentPort.SERVER, device.chunk_left - size, b""
    if size and (device.head is not None or size >= AGENT_HEADER_SIZE):
        raise StateError(f"{size} bytes of the agent's message are the client's: they must be given before it leaves")
    return CHUNK_HEADER_SIZE, device.chunk_port, device.chunk_left - size, device.partial


def _without_header(device: AgentDeviceState) -> int:
    """What the client has yet to get of the message; its header has been given."""
    assert device.head is not None
    if device.left > device.head.size:
        raise StateError("the header of the agent's message is the client's: it must be given before it leaves")
    return device.left


# -- between two spicehop servers -----------------------------------------------------------------------------------


def without_bytes(client: AgentClientState) -> AgentClientState:
    """The state for an envelope behind the layout: without the bytes that the layout has in chunks."""
    return replace(client, slices=tuple([piece if piece.raw else replace(piece, data=b"") for piece in client.slices]))


def with_bytes(client: AgentClientState, body: Data) -> AgentClientState:
    """What `without_bytes` was given, with the layout before the envelope; `ProtocolError` when they do not fit."""
    rest = memoryview(MainMigrationData.decode(body).agent.write_data)
    found = []
    for piece in client.slices:
        if piece.raw:
            if rest[: len(piece.data)] != piece.data:
                raise ProtocolError("the state of the agent's stream has other bytes than its layout")
            rest = rest[len(piece.data) :]
        else:
            data, rest = next_chunk(rest)
            piece = replace(piece, data=data)
        found.append(piece)
    filled = replace(client, slices=tuple(found))
    if sum(map(len, _write_data(filled))) != sum(map(len, _write_data(replace(filled, collected=None)))) + len(rest):
        raise ProtocolError("the layout of the agent's stream has chunks of no message")
    return filled


def has_agent(body: Data) -> bool:
    """Whether the layout says anything of the agent's stream."""
    return bool(MainMigrationData.decode(body).agent.connected)


def next_chunk(rest: Data) -> tuple[bytes, memoryview]:
    """The payload of the chunk at the beginning, and what follows it."""
    reader = Reader(rest)
    _, size = reader.unpack(_WORDS)
    return bytes(reader.take(size)), reader.rest()


# -- from libspice --------------------------------------------------------------------------------------------------


def main_from(body: Data) -> tuple[AgentClientState, AgentDeviceState]:
    """What `AgentHub.restore` goes on with. `ProtocolError` when the data contradicts itself.

    Of messages that are under way only the rest is known, not their type; of a chunk whose message's header is not
    complete libspice has lost the length, which follows from that header (`chunk_open`).
    """
    data = MainMigrationData.decode(body)
    written = bytes(data.agent.write_data)
    if len(written) > MAIN_LIMIT:
        raise ProtocolError(f"{len(written)} bytes for the agent are more than {MAIN_LIMIT}")
    if not data.agent.connected:
        if written or data.message_header or data.client_agent_started:
            raise ProtocolError("there is data for an agent that was not connected")
        return NO_CLIENT, NO_AGENT
    client = _client(data, written)
    device = _device(data, _partial_header(body, data))
    in_message = client.started and not client.dropped and client.left > 0
    return client, replace(device, writer_in_message=bool(client.slices) or in_message)


def main_state(connection_id: int = 0) -> MainState:
    """What the main channel itself goes on with: libspice tells nothing of it, and its target begins in server mode too
    (dossier C5). The client has its list of channels; the link says which connection it is. It may be in client mode,
    so that it has to hear of the modes here: none is known to be possible.
    """
    return MainState(ChannelState(), connection_id, MouseMode.SERVER, NO_MODES, True)


def _client(data: MainMigrationData, written: bytes) -> AgentClientState:
    if data.client_agent_started > 1:
        raise ProtocolError(f"a flag of the agent's client is {data.client_agent_started}")
    tokens, price = data.agent.client_tokens, data.agent.write_client_tokens
    if tokens + price > CLIENT_TOKENS:
        raise ProtocolError(f"{tokens} and {price} tokens are more than the client has")
    head = _rest(data.c2a_remaining, data.c2a_filter)
    dropped = head is not None and data.c2a_filter != FilterResult.OK
    ends = head is None or dropped
    if not data.client_agent_started:
        return AgentClientState(False, 0, CLIENT_TOKENS, 0, _raw(written, 0, ends=True), None, 0, False, None, ())
    pieces = _raw(written, price, ends=ends)
    owed = CLIENT_TOKENS - tokens - sum(not piece.credited for piece in pieces)
    return AgentClientState(
        True,
        data.agent.send_tokens,
        tokens,
        owed,
        pieces,
        head,
        data.c2a_remaining,
        dropped,
        None,
        (),
    )


def _raw(written: bytes, price: int, *, ends: bool) -> tuple[Slice, ...]:
    """Bytes for the device in pieces of which `price` give a token back; where chunks begin in them is not known, for
    the first may be half written.
    """
    if not written:
        return ()
    count = min(max(price, -(-len(written) // AGENT_CHUNK_BYTES)), len(written))
    size = -(-len(written) // count)
    data = [written[start : start + size] for start in range(0, len(written), size)]
    last = len(data) - 1
    return tuple(
        Slice(piece, index == 0, ends and index == last, credited=last - index >= price, raw=True)
        for index, piece in enumerate(data)
    )


def _rest(left: int, result: int) -> MessageHead | None:
    """The message of which `left` bytes are to come."""
    if not left:
        return None
    if result == FilterResult.PROTO_ERROR or left > MAX_MESSAGE:
        raise ProtocolError(f"{left} bytes of an agent message are to come, which the filter says {result} of")
    return MessageHead(UNKNOWN_TYPE, left, 0)


def _partial_header(body: Data, data: MainMigrationData) -> tuple[bytes, bool]:
    """The bytes read of a message header, and whether the chunk's length is told.

    libspice's own pointer is right, and the length is not; one that leads into the end of what is before it is ours.
    """
    size = len(data.message_header)
    if not size:
        return b"", True
    (pointer,) = _U32.unpack_from(body, _HEADER_POINTER)
    end = _SIZE + len(data.agent.write_data)
    if pointer + _TOO_FAR == end:
        return bytes(Reader(body).at(end).take(size)), True
    return bytes(data.message_header), False


def _device(data: MainMigrationData, header: tuple[bytes, bool]) -> AgentDeviceState:
    partial, length_told = header
    if data.message_header_done and (partial or data.message_header_done > 1):
        raise ProtocolError("a message header of the agent is both complete and not")
    if data.chunk_header_bytes < CHUNK_HEADER_SIZE:
        if data.message_header_done or partial:
            raise ProtocolError("a message of the agent begins before its chunk does")
        words = _WORDS.pack(data.chunk_port, data.chunk_remaining)
        return AgentDeviceState(True, words[: data.chunk_header_bytes], 0, 0, None, 0, False)
    if data.chunk_port not in (AgentPort.CLIENT, AgentPort.SERVER):
        raise ProtocolError(f"a chunk of the agent goes to port {data.chunk_port}")
    left, chunk_open = data.chunk_remaining, False
    if left > MAX_MESSAGE:
        raise ProtocolError(f"a chunk of the agent has {left} bytes more")
    if partial and not length_told:
        # reds.cpp:reds_marshall_migrate_data leaves out the buffer that is being filled, of at most 2,048 bytes.
        left, chunk_open = left + AGENT_CHUNK_BYTES, not left
    else:
        left += len(partial)
    head = _rest(data.a2c_remaining, data.a2c_filter) if data.message_header_done else None
    if data.chunk_port == AgentPort.CLIENT:
        if head is not None and left > data.a2c_remaining:
            raise ProtocolError("a chunk of the agent goes on behind the end of its message")
        if head is None and 0 < left < AGENT_HEADER_SIZE:
            raise ProtocolError("the agent's first chunk of a message is shorter than a header")
    dropped = head is not None and data.a2c_filter != FilterResult.OK
    remaining = data.a2c_remaining if head is not None else 0
    return AgentDeviceState(True, partial, left, data.chunk_port, head, remaining, False, chunk_open, dropped)
