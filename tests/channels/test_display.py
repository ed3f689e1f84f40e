"""The display channel: what it announces when it begins, and what a target must not hear."""

from __future__ import annotations

import pytest
from server_end import ServerEnd, received

from spicehop.channels.channel import MustWait
from spicehop.channels.display import DisplayChannel
from spicehop.wire import base, display
from spicehop.wire.constants import ChannelType, DisplayCap
from spicehop.wire.layout import Message

DISPLAY = ChannelType.DISPLAY
LZ4 = 7
WAIT = base.WaitFor(DISPLAY, 1, 3)


def begun(preferred: int | None = None, *bits: int) -> tuple[DisplayChannel, ServerEnd, list[Message]]:
    channel, server = DisplayChannel(0, preferred), ServerEnd(DISPLAY, *bits)
    channel.begin(server.linked(), 0.0)
    return channel, server, server.read_all(channel)


def test_it_begins_with_its_caches() -> None:
    _, _, messages = begun()
    assert [type(message) for message in messages] == [display.Init]


def test_a_display_that_begins_anew_announces_caches_of_its_own() -> None:
    channel, server, (first,) = begun()
    channel.feed(server.say(display.Mark()), 0.0)
    again = ServerEnd(DISPLAY)
    channel.begin(again.linked(), 1.0)
    (second,) = again.read_all(channel)
    assert isinstance(first, display.Init)
    assert isinstance(second, display.Init)
    assert first.glz_dictionary_id != second.glz_dictionary_id
    assert first.pixmap_cache_id != second.pixmap_cache_id


@pytest.mark.parametrize("able", [True, False])
def test_a_preference_goes_to_servers_that_take_one(able: bool) -> None:
    bits = (DisplayCap.PREF_COMPRESSION,) if able else ()
    _, _, messages = begun(LZ4, *bits)
    assert messages[1:] == ([display.PreferredCompression(LZ4)] if able else [])


def test_a_seamless_target_hears_the_preference_but_no_init() -> None:
    """INIT would abort it (dossier C2); the preference is not among its data (C5)."""
    channel, server, _ = begun(LZ4, DisplayCap.PREF_COMPRESSION)
    channel.feed(server.say(base.Migrate(3), base.MigrateData(b"state")), 0.0)
    server.read_all(channel)
    target = ServerEnd(DISPLAY, DisplayCap.PREF_COMPRESSION)
    channel.swap(target.linked(base.SetAck(1, 20)), b"state", 0.0)
    assert target.read_all(channel) == [
        base.MigrateData(b"state"),
        display.PreferredCompression(LZ4),
        base.AckSync(1),
    ]


def test_invalidating_all_images_waits_for_the_other_displays_first() -> None:
    channel, server, _ = begun()
    message = display.InvalAllPixmaps((WAIT,))
    events = channel.feed(server.say(message, display.Mark()), 2.0)
    assert events == [MustWait((WAIT,))]
    assert channel.serial == 0
    assert received(channel.proceed(3.0)) == [message, display.Mark()]
    assert (channel.serial, channel.next_deadline()) == (2, None)


def test_invalidating_all_images_without_waiting() -> None:
    channel, server, _ = begun()
    message = display.InvalAllPixmaps(())
    assert received(channel.feed(server.say(message), 2.0)) == [message]
    assert channel.next_deadline() is None
