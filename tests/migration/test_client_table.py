"""The client's table: every pair of state and input, every action, every state."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from spicehop.channels.machine import Machine
from spicehop.errors import ProtocolError, StateError
from spicehop.migration.client import CLIENT_TABLE, ClientAction, ClientInput, ClientState
from spicehop.migration.commands import Address
from spicehop.migration.session import ClientSession

TOP = Path(__file__).parents[2]
BY_MESSAGE = {
    ClientAction.LINK_TARGET,
    ClientAction.LINK_OTHER_TARGET,
    ClientAction.POSTPONE_BEGIN,
    ClientAction.SWITCH_HOST,
}
"""What needs the message that caused it: `Travel.message_received` does it."""
WAITING = {
    ClientState.LINKING_TARGET,
    ClientState.SWITCHING,
    ClientState.AWAITING_TARGET_INIT,
    ClientState.SWITCHING_HOST,
}


@pytest.mark.parametrize("state", ClientState)
@pytest.mark.parametrize("happened", ClientInput)
def test_every_pair_is_a_row_that_is_carried_out_or_a_typed_error(state: ClientState, happened: ClientInput) -> None:
    machine = Machine("migration", CLIENT_TABLE, state)
    row = CLIENT_TABLE.get((state, happened))
    assert machine.takes(happened) is (row is not None)
    if row is None:
        with pytest.raises(ProtocolError, match=happened.value):
            machine.step(happened)
        with pytest.raises(StateError, match=state.value):
            machine.step(happened, from_peer=False)
        assert machine.state is state
    else:
        action, after = row
        assert machine.step(happened) is action
        assert machine.state is after
        assert action in ClientSession(Address("host", 1)).travel.actions or action in BY_MESSAGE


def test_every_action_is_in_the_table_and_is_carried_out_in_one_way() -> None:
    used = {action for action, _ in CLIENT_TABLE.values()}
    handled = set(ClientSession(Address("host", 1)).travel.actions)
    assert used == set(ClientAction)
    assert handled | BY_MESSAGE == set(ClientAction)
    assert handled & BY_MESSAGE == set()


def test_messages_cause_what_needs_a_message() -> None:
    by_message = {ClientInput.BEGIN_RECEIVED, ClientInput.SWITCH_HOST_RECEIVED}
    assert {happened for (_, happened), (action, _) in CLIENT_TABLE.items() if action in BY_MESSAGE} == by_message
    assert {action for (_, happened), (action, _) in CLIENT_TABLE.items() if happened in by_message} == BY_MESSAGE


def test_every_state_can_be_reached() -> None:
    reached = {ClientState.SETTLED}
    while more := {after for (state, _), (_, after) in CLIENT_TABLE.items() if state in reached} - reached:
        reached |= more
    assert reached == set(ClientState)


def test_every_state_but_the_end_leads_back_home() -> None:
    home = {ClientState.SETTLED}
    while more := {state for (state, _), (_, after) in CLIENT_TABLE.items() if after in home} - home:
        home |= more
    assert home == set(ClientState) - {ClientState.ENDED}


def test_nothing_happens_after_the_end() -> None:
    assert [happened for state, happened in CLIENT_TABLE if state is ClientState.ENDED] == []


def test_every_state_that_waits_has_a_deadline_and_no_other_has() -> None:
    assert {state for state, happened in CLIENT_TABLE if happened is ClientInput.DEADLINE_PASSED} == WAITING


def test_a_lost_server_is_answered_in_every_state() -> None:
    there = {ClientState.AWAITING_TARGET_INIT, ClientState.SWITCHING_HOST}
    """Main is at the target already."""
    for state in set(ClientState) - {ClientState.ENDED, *there}:
        assert (state, ClientInput.SOURCE_LOST) in CLIENT_TABLE
    for state in there:
        assert (state, ClientInput.TARGET_FAILED) in CLIENT_TABLE


def test_the_committed_diagrams_are_what_the_tables_say() -> None:
    script = TOP / "scripts" / "generate-diagrams"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
