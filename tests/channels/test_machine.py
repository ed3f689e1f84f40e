"""State machines as tables: what is absent is an error of whoever caused the input."""

from __future__ import annotations

from enum import Enum

import pytest

from spicehop.channels.link import LINK_TABLE, LinkInput, LinkState
from spicehop.channels.machine import Machine, mermaid
from spicehop.errors import ProtocolError, StateError


class Lamp(Enum):
    OFF = "Off"
    ON = "On"


class Hand(Enum):
    PRESS = "button pressed"
    BREAK = "bulb broken"


class Effect(Enum):
    LIGHT = "light"
    DARKEN = "darken"


TABLE = {
    (Lamp.OFF, Hand.PRESS): (Effect.LIGHT, Lamp.ON),
    (Lamp.ON, Hand.PRESS): (Effect.DARKEN, Lamp.OFF),
    (Lamp.ON, Hand.BREAK): (Effect.DARKEN, Lamp.OFF),
}


def lamp() -> Machine[Lamp, Hand, Effect]:
    return Machine("lamp", TABLE, Lamp.OFF)


def test_a_step_returns_the_action_and_moves_on() -> None:
    machine = lamp()
    assert machine.step(Hand.PRESS) is Effect.LIGHT
    assert machine.state is Lamp.ON
    assert machine.step(Hand.BREAK) is Effect.DARKEN
    assert machine.state is Lamp.OFF


def test_takes_says_what_a_step_would_do() -> None:
    machine = lamp()
    assert machine.takes(Hand.PRESS)
    assert not machine.takes(Hand.BREAK)


def test_what_a_peer_may_not_do_is_a_protocol_error_and_changes_nothing() -> None:
    machine = lamp()
    with pytest.raises(ProtocolError, match="lamp: bulb broken is not possible in the state Off"):
        machine.step(Hand.BREAK)
    assert machine.state is Lamp.OFF


def test_what_the_caller_may_not_do_is_a_state_error() -> None:
    with pytest.raises(StateError, match="bulb broken"):
        lamp().step(Hand.BREAK, from_peer=False)


def test_the_diagram_has_one_arrow_for_each_row() -> None:
    lines = list(mermaid(TABLE, Lamp.OFF))
    assert lines == [
        "stateDiagram-v2",
        "    [*] --> Off",
        "    Off --> On: button pressed / light",
        "    On --> Off: button pressed / darken",
        "    On --> Off: bulb broken / darken",
    ]


@pytest.mark.parametrize("state", LinkState)
@pytest.mark.parametrize("happened", LinkInput)
def test_every_pair_of_the_link_table(state: LinkState, happened: LinkInput) -> None:
    machine = Machine("link", LINK_TABLE, state)
    if (state, happened) in LINK_TABLE:
        action, after = LINK_TABLE[state, happened]
        assert machine.step(happened) is action
        assert machine.state is after
    else:
        with pytest.raises(ProtocolError):
            machine.step(happened)
        assert machine.state is state
