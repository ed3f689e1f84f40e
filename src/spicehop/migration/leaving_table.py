"""How one client leaves a server behind its guest: the source's part of a session's migration, as a table.

The client links the target while the guest still runs here. When the guest has moved, each channel goes over with its
state and the main channel last (seamless), or the client goes over to its links and begins anew there (semi-seamless),
or it is told to connect anew (switch-host; dossier C1, C2.1).
"""

from __future__ import annotations

from enum import Enum


class Scheme(Enum):
    """How a client moves."""

    SEAMLESS = "seamless"
    SEMI_SEAMLESS = "semi-seamless"
    SWITCH_HOST = "switch-host"
    NONE = "none"


class LeavingState(Enum):
    """Where a client stands that is to leave."""

    LINKING = "AwaitingLink"
    """It has been told of the target."""
    LINKED = "Linked"
    LINKED_SEAMLESS = "LinkedSeamless"
    UNLINKED = "NotLinked"
    """It cannot link the target ahead, or could not."""
    CALLED_BACK = "CalledBack"
    """The guest stays, and the client has not yet said whether it is linked."""
    LINKING_LATE = "AwaitingLateLink"
    """The guest has moved meanwhile."""
    LINKED_LATE = "AwaitingLinkNotice"
    """It is linked, and the target has not yet said so over the direct link."""
    STATE_AHEAD = "StateAhead"
    """Its state is at the target, host to host, and the guest stands still; nothing is certain yet."""
    RESTORED_AHEAD = "RestoredAhead"
    """The target has restored its state."""
    AWAITING_RESTORE = "AwaitingRestore"
    """The guest has moved meanwhile."""
    HANDING_CHANNELS = "HandingOverChannels"
    HANDING_MAIN = "HandingOverMain"
    GOING = "AwaitingDeparture"
    """It has all that it needs to go."""
    GONE = "Gone"
    STAYS = "Stays"


class LeavingInput(Enum):
    """What happened."""

    LINKED = "CONNECTED received"
    LINKED_SEAMLESS = "CONNECTED_SEAMLESS received"
    LINKED_DIRECT = "CONNECTED_SEAMLESS received, and SessionLinked over the direct link"
    """Only where that makes a difference: when the guest has moved already."""
    LINKED_UNSURE = "CONNECTED_SEAMLESS received, and SessionLinked may come"
    LINK_FAILED = "CONNECT_ERROR received"
    SWITCHED_OVER = "the guest stands still, and there is a direct link"
    RESTORED = "SessionRestored received"
    REFUSED = "SessionRefused received"
    LINK_LOST = "the direct link is gone, and the session's state went over it"
    LINK_LOST_ALONE = "the direct link is gone, the session's state went over it, and the target lives"
    GUEST_MOVED = "the guest has moved"
    MOVED_DIRECT = "the guest has moved, and the state can go over the direct link"
    """SessionLinked has come after the guest had stopped."""
    MOVED_UNSURE = "the guest has moved, and SessionLinked may come"
    GUEST_STAYS = "the guest stays"
    CHANNELS_HANDED = "all channels but main are handed over"
    MAIN_HANDED = "main is handed over"
    CLIENT_GONE = "the client has closed its main channel"
    TIME_UP = "time over"


class LeavingAction(Enum):
    """What is done."""

    NOTE = "note it"
    SEND_STATE = "SessionHanded with all of its state"
    TAKE_STATE_BACK = "go on as if no state had been sent"
    TAKE_STATE_AND_HAND = "go on as if no state had been sent, and MIGRATE on every channel but main"
    HAND_CHANNELS = "MIGRATE on every channel but main"
    HAND_MAIN = "MIGRATE on main"
    LET_GO = "wait for the client to leave"
    BEGIN_ANEW = "MIGRATE_END"
    SWITCH = "MIGRATE_SWITCH_HOST"
    CANCEL = "MIGRATE_CANCEL"
    TAKE_BACK = "MIGRATE_CANCEL, and every channel goes on here"
    TAKE_BACK_AND_SWITCH = "MIGRATE_CANCEL, then MIGRATE_SWITCH_HOST"
    SEND_AWAY = "close the connections"
    DEPARTED = "the client has gone over"
    LOST = "the client is lost"


def _table() -> dict[tuple[LeavingState, LeavingInput], tuple[LeavingAction, LeavingState]]:
    states, inputs, actions = LeavingState, LeavingInput, LeavingAction
    rows = {
        (states.LINKING, inputs.LINKED): (actions.NOTE, states.LINKED),
        (states.LINKING, inputs.LINKED_SEAMLESS): (actions.NOTE, states.LINKED_SEAMLESS),
        (states.LINKING, inputs.LINK_FAILED): (actions.NOTE, states.UNLINKED),
        (states.LINKING, inputs.GUEST_MOVED): (actions.NOTE, states.LINKING_LATE),
        (states.LINKING, inputs.GUEST_STAYS): (actions.NOTE, states.CALLED_BACK),
        (states.LINKED, inputs.GUEST_MOVED): (actions.BEGIN_ANEW, states.GOING),
        (states.LINKED, inputs.GUEST_STAYS): (actions.CANCEL, states.STAYS),
        (states.LINKED_SEAMLESS, inputs.GUEST_MOVED): (actions.HAND_CHANNELS, states.HANDING_CHANNELS),
        (states.LINKED_SEAMLESS, inputs.MOVED_DIRECT): (actions.SEND_STATE, states.AWAITING_RESTORE),
        (states.LINKED_SEAMLESS, inputs.MOVED_UNSURE): (actions.NOTE, states.LINKED_LATE),
        (states.LINKED_SEAMLESS, inputs.GUEST_STAYS): (actions.CANCEL, states.STAYS),
        (states.UNLINKED, inputs.GUEST_MOVED): (actions.SWITCH, states.GOING),
        (states.UNLINKED, inputs.GUEST_STAYS): (actions.NOTE, states.STAYS),
        # A client that was told to stay before it was linked is told again: else it would wait for its migration.
        (states.CALLED_BACK, inputs.LINKED): (actions.CANCEL, states.STAYS),
        (states.CALLED_BACK, inputs.LINKED_SEAMLESS): (actions.CANCEL, states.STAYS),
        (states.CALLED_BACK, inputs.LINK_FAILED): (actions.NOTE, states.STAYS),
        (states.CALLED_BACK, inputs.GUEST_MOVED): (actions.TAKE_BACK_AND_SWITCH, states.GOING),
        (states.LINKING_LATE, inputs.LINKED): (actions.BEGIN_ANEW, states.GOING),
        (states.LINKING_LATE, inputs.LINKED_SEAMLESS): (actions.HAND_CHANNELS, states.HANDING_CHANNELS),
        (states.LINKING_LATE, inputs.LINKED_DIRECT): (actions.SEND_STATE, states.AWAITING_RESTORE),
        (states.LINKING_LATE, inputs.LINKED_UNSURE): (actions.NOTE, states.LINKED_LATE),
        (states.LINKED_LATE, inputs.LINKED_DIRECT): (actions.SEND_STATE, states.AWAITING_RESTORE),
        (states.LINKED_LATE, inputs.TIME_UP): (actions.HAND_CHANNELS, states.HANDING_CHANNELS),
        (states.LINKING_LATE, inputs.LINK_FAILED): (actions.SWITCH, states.GOING),
        (states.LINKING_LATE, inputs.TIME_UP): (actions.SWITCH, states.GOING),
        (states.HANDING_CHANNELS, inputs.CHANNELS_HANDED): (actions.HAND_MAIN, states.HANDING_MAIN),
        (states.HANDING_CHANNELS, inputs.TIME_UP): (actions.SEND_AWAY, states.GONE),
        (states.HANDING_MAIN, inputs.MAIN_HANDED): (actions.LET_GO, states.GOING),
        (states.HANDING_MAIN, inputs.TIME_UP): (actions.SEND_AWAY, states.GONE),
        (states.GOING, inputs.CLIENT_GONE): (actions.DEPARTED, states.GONE),
        (states.GOING, inputs.TIME_UP): (actions.SEND_AWAY, states.GONE),
    }
    rows |= {
        (states.LINKED_SEAMLESS, inputs.SWITCHED_OVER): (actions.SEND_STATE, states.STATE_AHEAD),
        (states.STATE_AHEAD, inputs.RESTORED): (actions.NOTE, states.RESTORED_AHEAD),
        (states.STATE_AHEAD, inputs.REFUSED): (actions.TAKE_STATE_BACK, states.LINKED_SEAMLESS),
        (states.STATE_AHEAD, inputs.GUEST_MOVED): (actions.NOTE, states.AWAITING_RESTORE),
        (states.STATE_AHEAD, inputs.GUEST_STAYS): (actions.TAKE_BACK, states.STAYS),
        (states.RESTORED_AHEAD, inputs.GUEST_MOVED): (actions.HAND_CHANNELS, states.HANDING_CHANNELS),
        (states.RESTORED_AHEAD, inputs.GUEST_STAYS): (actions.TAKE_BACK, states.STAYS),
        (states.AWAITING_RESTORE, inputs.RESTORED): (actions.HAND_CHANNELS, states.HANDING_CHANNELS),
        # The guest is there and the client is linked: its state can still go through the client.
        (states.AWAITING_RESTORE, inputs.REFUSED): (actions.TAKE_STATE_AND_HAND, states.HANDING_CHANNELS),
        (states.AWAITING_RESTORE, inputs.TIME_UP): (actions.SEND_AWAY, states.GONE),
        # The target may have restored the session and drawn for it: what it has of the client is not known here.
        (states.STATE_AHEAD, inputs.LINK_LOST): (actions.TAKE_BACK, states.UNLINKED),
        (states.RESTORED_AHEAD, inputs.LINK_LOST): (actions.TAKE_BACK, states.UNLINKED),
        (states.AWAITING_RESTORE, inputs.LINK_LOST): (actions.TAKE_BACK_AND_SWITCH, states.GOING),
        (states.HANDING_CHANNELS, inputs.LINK_LOST): (actions.TAKE_BACK, states.STAYS),
        # The guest is there, and what the client says on the channels that have gone cannot be passed on.
        (states.HANDING_CHANNELS, inputs.LINK_LOST_ALONE): (actions.TAKE_BACK_AND_SWITCH, states.GOING),
    }
    for state in states:
        if state not in (states.GOING, states.GONE, states.STAYS):
            rows[state, inputs.CLIENT_GONE] = (actions.LOST, states.GONE)
    return rows


LEAVING_TABLE = _table()
"""What is absent is ignored when a client says it, and a fault of ours when we do."""
