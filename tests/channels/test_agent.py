"""The agent's stream inside the main channel: tokens, slices, clipboard both ways, and what a migration does to it."""

from __future__ import annotations

import struct

import pytest
from guest_agent import GUEST, Guest
from hypothesis import given, settings
from hypothesis import strategies as st
from server_end import ServerEnd

from spicehop.channels import agent as agent_module
from spicehop.channels.agent import OWN_CAPABILITIES, Agent
from spicehop.channels.main import MainChannel
from spicehop.errors import StateError, UsageError
from spicehop.wire import agent, base, main
from spicehop.wire.agent_constants import UNLIMITED_TOKENS, ClipboardType, Selection
from spicehop.wire.agent_stream import encode_agent_message
from spicehop.wire.constants import AGENT_CHUNK_BYTES, ChannelType, MouseMode

TEXT = ClipboardType.UTF8_TEXT
COMMON = GUEST & OWN_CAPABILITIES


def connected(tokens: int = 10, *, hello: bool = True) -> tuple[MainChannel, ServerEnd, Guest]:
    channel, server = MainChannel(), ServerEnd(ChannelType.MAIN)
    channel.begin(server.linked(main.Init(5, 1, 1, MouseMode.SERVER, 1, tokens, 0, 0)), 0.0)
    guest = Guest(server)
    if hello:
        assert guest.hears(server.read_all(channel))
        channel.feed(guest.hello(), 0.0)
        guest.hears(server.read_all(channel))
        channel.feed(server.say(main.AgentToken(2)), 0.0)
    return channel, server, guest


# -- beginning ------------------------------------------------------------------------------------------------------


def test_the_chart_of_a_beginning() -> None:
    channel, server, guest = connected(hello=False)
    messages = server.read_all(channel)
    assert messages[0] == main.AgentStart(UNLIMITED_TOKENS)
    assert guest.hears(messages) == [agent.AnnounceCapabilities.of(OWN_CAPABILITIES, request=True)]
    assert (channel.agent.connected, channel.agent.has_clipboard) == (True, False)
    channel.feed(guest.hello(), 0.0)
    assert guest.hears(server.read_all(channel)) == [agent.AnnounceCapabilities.of(OWN_CAPABILITIES, request=False)]
    assert (channel.agent.capabilities, channel.agent.has_clipboard) == (GUEST, True)


def test_an_answer_to_capabilities_is_not_answered() -> None:
    channel, server, guest = connected(hello=False)
    server.read_all(channel)
    channel.feed(guest.hello(request=False), 0.0)
    assert server.read_all(channel) == []


def test_an_agent_that_comes_later_is_started_too() -> None:
    channel, server = MainChannel(), ServerEnd(ChannelType.MAIN)
    channel.begin(server.linked(main.Init(5, 1, 1, 1, 0, 10, 0, 0)), 0.0)
    assert server.read_all(channel) == []
    channel.feed(server.say(main.AgentConnectedTokens(10)), 0.0)
    assert server.read_all(channel)[0] == main.AgentStart(UNLIMITED_TOKENS)


# -- tokens and slices ----------------------------------------------------------------------------------------------


def test_each_slice_costs_a_token_and_nothing_goes_out_without() -> None:
    channel, server, guest = connected()
    text = b"x" * (AGENT_CHUNK_BYTES * 20)
    channel.agent.offer_text(text)
    channel.feed(guest.says(agent.ClipboardRequest(Selection.CLIPBOARD, TEXT)), 0.0)
    heard = guest.hears(server.read_all(channel))
    assert heard == [agent.ClipboardGrab(Selection.CLIPBOARD, 0, (TEXT,))]
    assert channel.agent.tokens == 0
    waiting = channel.agent.bytes_queued
    assert waiting > 10 * AGENT_CHUNK_BYTES
    channel.feed(server.say(main.AgentToken(5)), 0.0)
    messages = server.read_all(channel)
    assert len(messages) == 5
    assert channel.agent.bytes_queued == waiting - 5 * AGENT_CHUNK_BYTES
    channel.feed(server.say(main.AgentToken(50)), 0.0)
    assert guest.hears([*messages, *server.read_all(channel)]) == [agent.Clipboard(Selection.CLIPBOARD, TEXT, text)]
    assert channel.agent.bytes_queued == 0


def test_slices_are_as_large_as_the_server_takes_and_hold_one_message_each() -> None:
    channel, server, guest = connected(tokens=100)
    channel.agent.offer_text(b"y" * 5000)
    channel.feed(guest.says(*[agent.ClipboardRequest(Selection.CLIPBOARD, TEXT)] * 2), 0.0)
    guest.slices.clear()
    guest.hears(server.read_all(channel))
    assert max(map(len, guest.slices)) == AGENT_CHUNK_BYTES
    begins = [index for index, one in enumerate(guest.slices) if one[:4] == struct.pack("<I", 1)]
    assert [len(guest.slices[at - 1]) < AGENT_CHUNK_BYTES for at in begins[1:]] == [True, True]


def test_tokens_do_not_overflow() -> None:
    channel, server, _ = connected()
    channel.feed(server.say(main.AgentToken(2**32 - 1), main.AgentToken(2**32 - 1)), 0.0)
    assert channel.agent.tokens == UNLIMITED_TOKENS


def test_other_messages_of_the_channel_do_not_wait_for_tokens() -> None:
    channel, server, _ = connected(tokens=0, hello=False)
    channel.send(main.AttachChannels())
    assert server.read_all(channel) == [main.AgentStart(UNLIMITED_TOKENS), main.AttachChannels()]
    assert channel.agent.bytes_queued > 0


# -- clipboard ------------------------------------------------------------------------------------------------------


def test_text_goes_to_the_guest_when_it_asks() -> None:
    channel, server, guest = connected()
    channel.agent.offer_text("Grüße".encode())
    assert guest.hears(server.read_all(channel)) == [agent.ClipboardGrab(Selection.CLIPBOARD, 0, (TEXT,))]
    channel.feed(guest.says(agent.ClipboardRequest(Selection.CLIPBOARD, TEXT)), 0.0)
    assert guest.hears(server.read_all(channel)) == [agent.Clipboard(Selection.CLIPBOARD, TEXT, "Grüße".encode())]


def test_what_is_not_there_is_answered_with_nothing() -> None:
    channel, server, guest = connected()
    request = agent.ClipboardRequest(Selection.CLIPBOARD, ClipboardType.IMAGE_PNG)
    channel.feed(guest.says(request), 0.0)
    assert guest.hears(server.read_all(channel)) == [agent.Clipboard(Selection.CLIPBOARD, ClipboardType.NONE, b"")]


def test_text_comes_from_the_guest_when_we_ask() -> None:
    channel, server, guest = connected()
    channel.feed(guest.says(agent.ClipboardGrab(Selection.CLIPBOARD, 0, (ClipboardType.IMAGE_PNG, TEXT))), 0.0)
    assert channel.agent.offered == (ClipboardType.IMAGE_PNG, TEXT)
    channel.agent.request_text()
    assert guest.hears(server.read_all(channel)) == [agent.ClipboardRequest(Selection.CLIPBOARD, TEXT)]
    channel.feed(guest.says(agent.Clipboard(Selection.CLIPBOARD, TEXT, b"from the guest" * 1000)), 0.0)
    assert (channel.agent.received, channel.agent.receptions) == (b"from the guest" * 1000, 1)


def test_a_guest_that_has_no_text_after_all_answers_with_nothing() -> None:
    channel, _, guest = connected()
    channel.feed(guest.says(agent.ClipboardGrab(Selection.CLIPBOARD, 0, (TEXT,))), 0.0)
    channel.agent.request_text()
    channel.feed(guest.says(agent.Clipboard(Selection.CLIPBOARD, ClipboardType.NONE, b"")), 0.0)
    assert (channel.agent.received, channel.agent.receptions) == (b"", 1)


def test_asking_for_text_that_is_not_offered_is_the_callers_mistake() -> None:
    channel, _, guest = connected()
    with pytest.raises(StateError, match="offers no text"):
        channel.agent.request_text()
    channel.feed(guest.says(agent.ClipboardGrab(Selection.CLIPBOARD, 0, (TEXT,))), 0.0)
    channel.feed(guest.says(agent.ClipboardRelease(Selection.CLIPBOARD)), 0.0)
    with pytest.raises(StateError):
        channel.agent.request_text()


def test_other_selections_are_left_alone() -> None:
    channel, _, guest = connected()
    channel.feed(guest.says(agent.ClipboardGrab(Selection.PRIMARY, 0, (TEXT,))), 0.0)
    assert channel.agent.offered == ()


def test_a_grab_of_the_guest_ends_our_own_offer() -> None:
    channel, server, guest = connected()
    channel.agent.offer_text(b"ours")
    guest.hears(server.read_all(channel))
    channel.feed(guest.says(agent.ClipboardGrab(Selection.CLIPBOARD, 0, (TEXT,))), 0.0)
    channel.feed(guest.says(agent.ClipboardRequest(Selection.CLIPBOARD, TEXT)), 0.0)
    assert guest.hears(server.read_all(channel)) == [agent.Clipboard(Selection.CLIPBOARD, ClipboardType.NONE, b"")]


# -- monitors -------------------------------------------------------------------------------------------------------


def test_monitors_are_asked_for_and_said_again_to_a_new_agent() -> None:
    channel, server, guest = connected()
    channel.agent.want_monitors(((0, 0, 1024, 768), (1024, -5, 800, 600)))
    (wanted,) = guest.hears(server.read_all(channel))
    assert isinstance(wanted, agent.MonitorsConfig)
    assert [(one.x, one.y, one.width, one.height) for one in wanted.monitors] == [
        (0, 0, 1024, 768),
        (1024, -5, 800, 600),
    ]
    channel.feed(server.say(main.AgentDisconnected(0), main.AgentConnectedTokens(10)), 0.0)
    newcomer = Guest(server)
    newcomer.hears(server.read_all(channel))
    channel.feed(newcomer.hello(), 0.0)
    assert wanted in newcomer.hears(server.read_all(channel))


@pytest.mark.parametrize(
    "monitors",
    [((0, 0, 0, 768),), ((0, 0, 1024, -1),), ((0, 0, 2**20, 1),), ((2**31, 0, 1, 1),), ((0, 0, 1, 1),) * 257],
)
def test_impossible_monitors_are_refused(monitors: tuple[tuple[int, int, int, int], ...]) -> None:
    channel, server, _ = connected()
    with pytest.raises(UsageError):
        channel.agent.want_monitors(monitors)
    assert server.read_all(channel) == []


# -- what goes wrong ------------------------------------------------------------------------------------------------


def test_agent_disconnected_drops_what_was_half_sent_and_half_received() -> None:
    channel, server, guest = connected()
    channel.agent.offer_text(b"z" * 100_000)
    channel.feed(guest.says(agent.ClipboardRequest(Selection.CLIPBOARD, TEXT)), 0.0)
    server.read_all(channel)
    assert channel.agent.bytes_queued
    channel.feed(server.say(main.AgentData(b"\1\0\0\0\4")), 0.0)
    channel.feed(server.say(main.AgentDisconnected(1)), 0.0)
    assert (channel.agent.connected, channel.agent.bytes_queued, channel.agent.capabilities) == (False, 0, frozenset())
    channel.feed(server.say(main.AgentConnectedTokens(10)), 0.0)
    newcomer = Guest(server)
    newcomer.hears(server.read_all(channel))
    channel.feed(newcomer.hello(), 0.0)
    heard = newcomer.hears(server.read_all(channel))
    assert agent.ClipboardGrab(Selection.CLIPBOARD, 0, (TEXT,)) in heard  # our text is still on offer
    assert channel.agent.trouble == ""


@pytest.mark.parametrize(
    "slice_",
    [
        struct.pack("<IIQI", 9, 4, 0, 0),
        struct.pack("<IIQI", 1, 4, 0, 2**31),
        struct.pack("<IIQI", 1, 6, 0, 2) + b"xx",
        struct.pack("<IIQI", 1, 7, 0, 1) + b"x",
    ],
    ids=["another protocol", "too large", "short capabilities", "short grab"],
)
def test_bad_bytes_of_the_agent_do_not_end_the_session(slice_: bytes) -> None:
    channel, server, _ = connected()
    events = channel.feed(server.say(main.AgentData(slice_), main.MouseMode(1, 1)), 0.0)
    assert [type(event).__name__ for event in events] == ["Received", "Received"]
    assert "the guest's agent sent what cannot be read" in channel.agent.trouble
    channel.feed(server.say(main.AgentData(b"more")), 0.0)
    channel.feed(server.say(main.AgentDisconnected(0), main.AgentConnectedTokens(10)), 0.0)
    assert (channel.agent.trouble, channel.agent.connected) == ("", True)


def test_a_guest_that_asks_without_end_is_not_read_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_module, "ANSWER_LIMIT", 100_000)
    channel, _, guest = connected()
    channel.agent.offer_text(b"z" * 50_000)
    channel.feed(guest.says(*[agent.ClipboardRequest(Selection.CLIPBOARD, TEXT)] * 50), 0.0)
    assert "asks for more" in channel.agent.trouble
    assert channel.agent.bytes_queued < 200_000


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=100), max_size=6))
def test_arbitrary_agent_bytes_raise_nothing(slices: list[bytes]) -> None:
    one = Agent()
    one.connect(10)
    for data in slices:
        one.data_received(data)
        one.next_message()


# -- migration ------------------------------------------------------------------------------------------------------


def test_half_messages_go_on_across_a_seamless_migration() -> None:
    channel, source, guest = connected()
    text = b"t" * 50_000
    channel.agent.offer_text(text)
    channel.feed(guest.says(agent.ClipboardRequest(Selection.CLIPBOARD, TEXT)), 0.0)
    to_guest = source.read_all(channel)
    from_guest = encode_agent_message(agent.Clipboard(Selection.CLIPBOARD, TEXT, b"g" * 3000), capabilities=COMMON)
    channel.feed(source.say(main.AgentData(from_guest[:1500])), 0.0)
    channel.feed(source.say(base.Migrate(3), base.MigrateData(b"state")), 0.0)
    assert source.read_all(channel) == [base.MigrateFlushMark()]
    target = ServerEnd(ChannelType.MAIN)
    channel.swap(target.linked(), b"state", 0.0)
    assert target.read_all(channel) == [base.MigrateData(b"state")]  # no token is left
    channel.feed(target.say(main.AgentData(from_guest[1500:]), main.AgentToken(30)), 0.0)
    assert channel.agent.received == b"g" * 3000
    heard = guest.hears([*to_guest, *target.read_all(channel)])
    assert heard[-1] == agent.Clipboard(Selection.CLIPBOARD, TEXT, text)


def test_any_other_migration_begins_the_stream_anew() -> None:
    channel, source, guest = connected()
    channel.agent.offer_text(b"t" * 50_000)
    channel.feed(guest.says(agent.ClipboardRequest(Selection.CLIPBOARD, TEXT)), 0.0)
    source.read_all(channel)
    channel.feed(source.say(main.AgentData(b"\1\0\0\0")), 0.0)
    target = ServerEnd(ChannelType.MAIN)
    channel.begin(target.linked(), 1.0, (main.MigrateEnd(),))
    assert target.read_all(channel) == [main.MigrateEnd()]
    channel.feed(target.say(main.Init(5, 1, 1, 1, 1, 10, 0, 0)), 1.0)
    messages = target.read_all(channel)
    assert messages[0] == main.AgentStart(UNLIMITED_TOKENS)
    newcomer = Guest(target)
    assert newcomer.hears(messages) == [agent.AnnounceCapabilities.of(OWN_CAPABILITIES, request=True)]
    channel.feed(newcomer.hello(), 1.0)
    assert agent.ClipboardGrab(Selection.CLIPBOARD, 0, (TEXT,)) in newcomer.hears(target.read_all(channel))
