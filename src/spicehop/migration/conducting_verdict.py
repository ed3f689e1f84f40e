"""What a census before and one after a migration say about each session: pure functions, and their sentences."""

from __future__ import annotations

from collections.abc import Collection

from spicehop.migration.conducting_census import Sessions
from spicehop.migration.conducting_result import NOT_SHOWN, ChannelFate, Fate, SessionOutcome

LINKED_LATE = "it linked to the target only when the machine was on its way; QMP does not show whether that was in time"


def count(number: int, noun: str) -> str:
    """`1 session`, `2 sessions`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def sessions_moved(
    before: Sessions,
    after: Sessions,
    *,
    seamless: bool | None,
    informed: Collection[int],
    linked: Collection[int],
    strangers: Collection[int] = (),
) -> tuple[SessionOutcome, ...]:
    """What became of the sessions `before` the switch-over, given what the target has `after` it.

    `informed` sessions were told of the target, `linked` ones had all channels there before the machine moved;
    `strangers` are connection ids that were at the target before any of it.
    """
    absent = [connection_id for connection_id in before if connection_id not in after]
    known = {*before, *strangers}
    arrived = [connection_id for connection_id in after if connection_id not in known]
    outcomes = []
    for connection_id, channels in before.items():
        if connection_id in after:
            fates = {
                key.name: ChannelFate.MOVED if key in after[connection_id] else ChannelFate.LOST
                for key in sorted(channels)
            }
            gone = [name for name, fate in fates.items() if fate is ChannelFate.LOST]
            fate, reason = Fate.SAME_ID, NOT_SHOWN
            if connection_id not in linked:
                reason = LINKED_LATE
            elif seamless is False:
                fate, reason = Fate.SEMI_SEAMLESS, "seamless-migration is off at the source"
            if gone:
                reason = f"{', '.join(gone)} did not arrive; {reason}"
        else:
            # A session that reconnects gets a new id, so which is which shows only when there is one of each.
            found = len(arrived) >= len(absent)
            fate = (Fate.SWITCH_HOST if len(absent) == len(arrived) == 1 else Fate.NEW_ID) if found else Fate.LOST
            fates = {key.name: ChannelFate.ANEW if found else ChannelFate.LOST for key in sorted(channels)}
            reason = _why_not_moved(connection_id, informed, linked)
        outcomes.append(SessionOutcome(connection_id, fate, fates, reason))
    return tuple(outcomes)


def _why_not_moved(connection_id: int, informed: Collection[int], linked: Collection[int]) -> str:
    if connection_id not in informed:
        return "it connected after the clients had been told of the target"
    if connection_id not in linked:
        return "its channels were not all linked to the target before the machine moved"
    return "it had linked to the target, but the source sent it there anew or let it go"


def sessions_stayed(before: Sessions, after: Sessions) -> tuple[SessionOutcome, ...]:
    """What became of the sessions `before`, given what the source has `after` a roll-back."""
    outcomes = []
    for connection_id, channels in before.items():
        present = after.get(connection_id, frozenset())
        fates = {key.name: ChannelFate.STAYED if key in present else ChannelFate.LOST for key in sorted(channels)}
        lost = [name for name, fate in fates.items() if fate is ChannelFate.LOST]
        reason = f"{', '.join(lost)} {'is' if len(lost) == 1 else 'are'} gone" if lost else ""
        outcomes.append(SessionOutcome(connection_id, Fate.STAYED if present else Fate.LOST, fates, reason))
    return tuple(outcomes)


def sessions_unknown(before: Sessions, reason: str) -> tuple[SessionOutcome, ...]:
    """All sessions, when nobody can be asked any more."""
    return tuple(
        SessionOutcome(
            connection_id, Fate.UNKNOWN, {key.name: ChannelFate.UNKNOWN for key in sorted(channels)}, reason
        )
        for connection_id, channels in before.items()
    )


def is_whole(outcome: SessionOutcome) -> bool:
    """Whether the session lives, with every channel."""
    gone = (ChannelFate.LOST, ChannelFate.UNKNOWN)
    return outcome.fate not in (Fate.LOST, Fate.UNKNOWN) and not any(fate in gone for fate in outcome.channels.values())


def sessions_sentence(outcomes: Collection[SessionOutcome], where: str) -> str:
    """Where the sessions are, as the end of a sentence that began with the machine."""
    outcomes = [outcome for outcome in outcomes if outcome.fate is not Fate.LEFT]
    if not outcomes:
        return "no session was connected"
    lost = [outcome for outcome in outcomes if outcome.fate is Fate.LOST]
    unknown = [outcome for outcome in outcomes if outcome.fate is Fate.UNKNOWN]
    if unknown:
        return f"what became of {count(len(outcomes), 'session')} is not known"
    if lost:
        return f"{len(lost)} of {count(len(outcomes), 'session')} {'is' if len(lost) == 1 else 'are'} lost"
    channels = sum(fate is ChannelFate.LOST for outcome in outcomes for fate in outcome.channels.values())
    arrived = f"{count(len(outcomes), 'session')} {'is' if len(outcomes) == 1 else 'are'} {where}"
    return f"{arrived}, without {count(channels, 'channel')}" if channels else arrived
