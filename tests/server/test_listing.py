from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

from spicehop.server.listing import CLAIM_SECONDS, ChannelLists, Listener
from spicehop.wire.constants import ChannelType

DISPLAY, PORT, RECORD = (ChannelType.DISPLAY, 0), (ChannelType.PORT, 0), (ChannelType.RECORD, 0)
Key = tuple[int, int]


@dataclass
class Client:
    """A client and its main channel in one."""

    linked: set[Key] = field(default_factory=set)
    told: list[list[Key]] = field(default_factory=list)
    here: bool = True

    def list_channels(self, channels: list[Key]) -> None:
        self.told.append(channels)

    @property
    def listener(self) -> Listener:
        return Listener(cast(Any, self), lambda: self.linked, lambda: self.here)


class Desk:
    def __init__(self) -> None:
        self.clients = [Client(), Client(), Client()]
        self.lists = ChannelLists(self.available, lambda: [DISPLAY])

    def available(self) -> list[Key]:
        taken = set().union(*(one.linked for one in self.clients))
        return [DISPLAY, *({PORT, RECORD} - taken)]


def test_the_second_hears_of_devices_when_the_first_has_them() -> None:
    desk = Desk()
    first, second, _ = desk.clients
    desk.lists.ask(first.listener)
    desk.lists.ask(second.listener)
    desk.lists.turn(0.0, quiet=False)
    assert [set(keys) for keys in first.told] == [{DISPLAY, PORT, RECORD}]
    assert second.told == []
    first.linked = {PORT}
    desk.lists.turn(0.1, quiet=False)
    assert second.told == []
    first.linked = {PORT, RECORD}
    desk.lists.turn(0.2, quiet=False)
    assert second.told == [[DISPLAY]]


def test_the_second_waits_no_longer_than_it_must() -> None:
    desk = Desk()
    first, second, third = desk.clients
    desk.lists.ask(first.listener)
    desk.lists.ask(second.listener)
    desk.lists.ask(third.listener)
    desk.lists.turn(0.0, quiet=False)
    assert desk.lists.next_deadline() == CLAIM_SECONDS
    first.linked = {PORT}  # it has no microphone
    desk.lists.turn(CLAIM_SECONDS, quiet=False)
    assert [set(keys) for keys in second.told] == [{DISPLAY, RECORD}]
    second.here = False
    desk.lists.turn(CLAIM_SECONDS, quiet=False)
    assert [set(keys) for keys in third.told] == [{DISPLAY, RECORD}]


def test_nobody_waits_where_no_device_is_free() -> None:
    desk = Desk()
    first, second, third = desk.clients
    third.linked = {PORT, RECORD}
    desk.lists.ask(first.listener)
    desk.lists.ask(second.listener)
    desk.lists.turn(0.0, quiet=False)
    assert (first.told, second.told) == ([[DISPLAY]], [[DISPLAY]])
    assert desk.lists.next_deadline() is None


def test_a_device_that_is_free_again_is_told_to_one_after_the_other() -> None:
    desk = Desk()
    first, second, third = desk.clients
    third.linked = {RECORD}
    desk.lists.freed(PORT, [first.listener, second.listener])
    desk.lists.turn(0.0, quiet=True)
    assert first.told == []
    desk.lists.turn(0.1, quiet=False)
    assert (first.told, second.told) == ([[PORT]], [])
    desk.lists.turn(0.1 + CLAIM_SECONDS, quiet=False)
    assert second.told == [[PORT]]
    second.linked = {PORT}
    desk.lists.claimed(PORT)
    desk.lists.turn(5.0, quiet=False)
    assert (first.told, second.told) == ([[PORT]], [[PORT]])
    assert desk.lists.next_deadline() is None


def test_of_a_device_that_was_taken_meanwhile_nobody_hears() -> None:
    desk = Desk()
    first, second, _ = desk.clients
    desk.lists.freed(PORT, [first.listener])
    second.linked = {PORT}
    desk.lists.turn(0.0, quiet=False)
    assert first.told == []
