"""The main channel: who the session is, who moves the mouse, which schemes are offered."""

from __future__ import annotations

import pytest
from server_end import ServerEnd, received

from spicehop.channels.channel import Failed
from spicehop.channels.main import MAX_CHANNELS, SCHEMES, MainChannel
from spicehop.wire import main
from spicehop.wire.constants import ChannelType, MainCap, MouseMode

ALWAYS = {MainCap.NAME_AND_UUID, MainCap.AGENT_CONNECTED_TOKENS}


def init(*, supported: int = MouseMode.SERVER, current: int = MouseMode.SERVER, agent: int = 0) -> main.Init:
    return main.Init(77, 1, supported, current, agent, 10, 1000, 0)


def linked(*messages: main.Init) -> tuple[MainChannel, ServerEnd]:
    channel, server = MainChannel(), ServerEnd(ChannelType.MAIN)
    channel.begin(server.linked(*messages), 0.0)
    return channel, server


@pytest.mark.parametrize(
    ("schemes", "bits"),
    [
        (SCHEMES, {MainCap.SEMI_SEAMLESS_MIGRATE, MainCap.SEAMLESS_MIGRATE}),
        (("semi-seamless", "switch-host"), {MainCap.SEMI_SEAMLESS_MIGRATE}),
        (("seamless",), {MainCap.SEAMLESS_MIGRATE}),
        (("switch-host",), set()),
        ((), set()),
    ],
)
def test_a_scheme_that_is_withheld_is_not_announced(schemes: tuple[str, ...], bits: set[MainCap]) -> None:
    assert MainChannel(schemes).own_capabilities().channel == ALWAYS | bits


def test_init_says_who_the_session_is() -> None:
    channel, _ = linked(init())
    assert (channel.session_id, channel.mouse_mode, channel.agent.connected) == (77, MouseMode.SERVER, False)


def test_name_is_text_whatever_the_server_sends() -> None:
    channel, server = linked(init())
    channel.feed(server.say(main.Name("vm ü".encode())), 0.0)
    assert channel.guest_name == "vm ü"
    channel.feed(server.say(main.Name(b"\xff")), 0.0)
    assert channel.guest_name == "\ufffd"


def test_client_mouse_mode_is_asked_for_where_it_is_offered() -> None:
    channel, server = linked(init())
    assert server.read_all(channel) == []
    both = MouseMode.SERVER | MouseMode.CLIENT
    channel.feed(server.say(main.MouseMode(both, MouseMode.SERVER)), 0.0)
    assert server.read_all(channel) == [main.MouseModeRequest(MouseMode.CLIENT)]
    channel.feed(server.say(main.MouseMode(both, MouseMode.CLIENT)), 0.0)
    assert server.read_all(channel) == []
    assert channel.mouse_mode == MouseMode.CLIENT
    # After a seamless migration the target begins in server mode (dossier C5).
    channel.feed(server.say(main.MouseMode(both, MouseMode.SERVER)), 0.0)
    assert server.read_all(channel) == [main.MouseModeRequest(MouseMode.CLIENT)]


def test_a_server_that_repeats_itself_is_asked_once() -> None:
    channel, server = linked(init())
    both = MouseMode.SERVER | MouseMode.CLIENT
    channel.feed(server.say(*[main.MouseMode(both, MouseMode.SERVER)] * 1000), 0.0)
    assert server.read_all(channel) == [main.MouseModeRequest(MouseMode.CLIENT)]


def test_a_list_of_too_many_channels_is_refused() -> None:
    channel, server = linked(init())
    events = channel.feed(server.say(main.ChannelsList((main.ChannelId(2, 0),) * MAX_CHANNELS)), 0.0)
    assert len(received(events)) == 1
    events = channel.feed(server.say(main.ChannelsList((main.ChannelId(2, 0),) * (MAX_CHANNELS + 1))), 0.0)
    assert isinstance(events[-1], Failed)


def test_every_message_is_passed_on() -> None:
    channel, server = linked(init())
    messages = [main.MultiMediaTime(5), main.Uuid(bytes(16)), main.MigrateCancel(), main.AgentToken(1)]
    assert received(channel.feed(server.say(*messages), 0.0)) == messages


def test_a_new_session_forgets_what_was_queued_for_the_last() -> None:
    channel, server = linked(init())
    channel.send(main.MigrateConnected())
    again = ServerEnd(ChannelType.MAIN)
    channel.begin(again.linked(init()), 1.0)
    assert again.read_all(channel) == []
    assert server.serial == 1
