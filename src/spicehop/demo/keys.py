"""Keys numbered by their codes, counted by the guest's log, and charged when lost.

What is typed is a sequence in which no code comes again within 12 keys and no three codes in a row come twice, so that
the guest's log tells which keys were lost or doubled, without anything but the codes themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from spicehop.demo.serial import PRESSED, RELEASED, KeyEvent, SerialLog

TYPED_CODES: tuple[int, ...] = (*range(2, 12), *range(16, 26), *range(30, 39), *range(44, 51))
"""Digits and letters: here the Linux key code and the PC scan code are the same number."""
OTHER_CODES: tuple[int, ...] = (12, 13, 26, 27, 39, 40, 41, 43, 51, 52, 53, 55, *range(71, 84), 86)
"""Punctuation and the keypad, where it is the same too: for a second client, so that one log tells whose a key was."""
SHORTEST_RETURN = 12
"""No code is typed again before this many others."""
BEFORE_STOP_SECONDS = 0.050
"""QEMU drops input a little before it says STOP (reference results, B4)."""

KEY_F5, KEY_F6, KEY_F7 = 63, 64, 65


class KeyPlan:
    """The sequence to type of the keys `typed`, as long as it is asked for: `plan[i]` is the code of key `i`.

    There are 33,097 with the digits and letters, 8,537 with the others.
    """

    def __init__(self, seed: int = 1, typed: tuple[int, ...] = TYPED_CODES) -> None:
        self._typed = typed
        self._codes: list[int] = []
        self._triples: set[tuple[int, ...]] = set()
        self._state = seed

    def __getitem__(self, index: int) -> int:
        while len(self._codes) <= index:
            self._codes.append(self._following())
        return self._codes[index]

    def codes(self, count: int) -> tuple[int, ...]:
        return tuple(self[index] for index in range(count))

    def _following(self) -> int:
        self._state = (self._state * 6364136223846793005 + 1442695040888963407) & 0xFFFF_FFFF_FFFF_FFFF
        first = (self._state >> 33) % len(self._typed)
        recent = self._codes[-SHORTEST_RETURN:]
        for step in range(len(self._typed)):
            code = self._typed[(first + step) % len(self._typed)]
            triple = (*self._codes[-2:], code)
            if code not in recent and triple not in self._triples:
                self._triples.add(triple)
                return code
        raise IndexError(f"a key plan ends after {len(self._codes)} keys")


@dataclass(frozen=True, slots=True)
class SentKey:
    """One key that a client typed: when it wrote press and release, and to which server. Times are CLOCK_MONOTONIC."""

    code: int
    pressed_at: float
    pressed_to: str
    released_at: float
    released_to: str


@dataclass(frozen=True, slots=True)
class KeyCount:
    """What of the keys sent the guest has seen as presses (make codes without repeats)."""

    sent: int
    lost_indices: tuple[int, ...]
    """Which of the keys sent the guest never saw pressed."""
    duplicated_indices: tuple[int, ...]
    """Which of the guest's presses, counted from 0, match no key sent."""
    masked: Mapping[int, int]
    """Lost because the guest took the key for held: index of the lost one to index of that whose release it missed."""
    unreleased: tuple[int, ...]
    """Keys whose press the guest saw and whose release it missed, or saw only after the code was typed again."""

    @property
    def lost(self) -> int:
        return len(self.lost_indices)

    @property
    def received(self) -> int:
        return self.sent - self.lost

    @property
    def duplicated(self) -> int:
        return len(self.duplicated_indices)


def count_keys(sent: Sequence[int], log: SerialLog, typed: tuple[int, ...] = TYPED_CODES) -> KeyCount:
    """Compares the codes sent, in order, with the guest's log.

    Keys outside `typed`, the function keys and another client's for example, are not counted.
    """
    events = [event for event in log.keys if event.code in typed]
    presses = [position for position, event in enumerate(events) if event.value == PRESSED]
    matches = align(sent, [events[position].code for position in presses])
    release_of = _releases(events)
    seen_at = {index: position for index, position in zip(matches, presses, strict=True) if index is not None}
    lost = tuple(index for index in range(len(sent)) if index not in seen_at)
    masked: dict[int, int] = {}
    last_of_code: dict[int, int] = {}
    reached = 0
    for index, code in enumerate(sent):
        if index in seen_at:
            reached = seen_at[index]
            last_of_code[code] = index
            continue
        holder = last_of_code.get(code)
        # The guest ignores the press of a key that it takes for held, because it never saw the release.
        if holder is not None and release_of[seen_at[holder]] > reached:
            masked[index] = holder
    unreleased = {index for index, position in seen_at.items() if release_of[position] == len(events)}
    duplicated = tuple(number for number, index in enumerate(matches) if index is None)
    return KeyCount(len(sent), lost, duplicated, masked, tuple(sorted(unreleased.union(masked.values()))))


def _releases(events: Sequence[KeyEvent]) -> dict[int, int]:
    """For the position of each press: the position of its release, or the number of events when there is none."""
    release_of: dict[int, int] = {}
    following: dict[int, int] = {}
    for position in reversed(range(len(events))):
        code = events[position].code
        if events[position].value == RELEASED:
            following[code] = position
        elif events[position].value == PRESSED:
            release_of[position] = following.pop(code, len(events))
    return release_of


def align(sent: Sequence[int], received: Sequence[int]) -> list[int | None]:
    """For each element received: the index of the element sent that it is, or None when it matches none.

    The fewest losses and doubles that explain what was received (the greedy algorithm of Myers, 1986).
    """
    head = 0
    while head < min(len(sent), len(received)) and sent[head] == received[head]:
        head += 1
    tail = 0
    while tail < min(len(sent), len(received)) - head and sent[-1 - tail] == received[-1 - tail]:
        tail += 1
    inner = _align_inner(sent[head : len(sent) - tail], received[head : len(received) - tail])
    return [
        *range(head),
        *(None if index is None else head + index for index in inner),
        *range(len(sent) - tail, len(sent)),
    ]


def _align_inner(sent: Sequence[int], received: Sequence[int]) -> list[int | None]:
    matches: list[int | None] = [None] * len(received)
    reached = {1: 0}  # diagonal (index sent - index received) to the furthest index sent
    history: list[dict[int, int]] = []
    for edits in range(len(sent) + len(received) + 1):
        history.append(dict(reached))
        for diagonal in range(-edits, edits + 1, 2):
            x = _step(reached, diagonal, edits)
            while x < len(sent) and x - diagonal < len(received) and sent[x] == received[x - diagonal]:
                x += 1
            reached[diagonal] = x
            if x >= len(sent) and x - diagonal >= len(received):
                _walk_back(history, len(sent), len(received), matches)
                return matches
    return matches


def _step(reached: Mapping[int, int], diagonal: int, edits: int) -> int:
    """Where a diagonal is entered: past one received element that was not sent, or past one sent that was lost."""
    if diagonal == -edits or (diagonal != edits and reached[diagonal - 1] < reached[diagonal + 1]):
        return reached[diagonal + 1]
    return reached[diagonal - 1] + 1


def _walk_back(history: Sequence[Mapping[int, int]], x: int, y: int, matches: list[int | None]) -> None:
    for edits in range(len(history) - 1, -1, -1):
        diagonal = x - y
        start = _step(history[edits], diagonal, edits)
        while x > start and x > 0 and y > 0:
            x, y = x - 1, y - 1
            matches[y] = x
        if edits:
            is_double = diagonal == -edits or start == history[edits].get(diagonal + 1, -1)
            x, y = (x, y - 1) if is_double else (x - 1, y)


@dataclass(frozen=True, slots=True)
class StandStill:
    """The time in which one server's guest could not take keys while a migration went on. Times are CLOCK_MONOTONIC."""

    server: str
    """As in SentKey."""
    stopped_at: float
    """The source's STOP event."""
    moved_at: float
    """When MIGRATE reached the client on its inputs channel; from then on keys go to the target."""

    def covers(self, server: str, at: float) -> bool:
        """Whether a key written then to that server is lost by libspice, not by us."""
        return server == self.server and self.stopped_at - BEFORE_STOP_SECONDS <= at <= self.moved_at


@dataclass(frozen=True, slots=True)
class Charge:
    """Who lost the lost keys, by index."""

    libspice: tuple[int, ...]
    ours: tuple[int, ...]


def charge(count: KeyCount, sent: Sequence[SentKey], still: Iterable[StandStill]) -> Charge:
    """Charges each lost key to libspice or to us.

    libspice's are those written to the source while its guest stood still, and those whose press was masked by a
    release that was written then; any other is ours.
    """
    stands = tuple(still)

    def stood_still(server: str, at: float) -> bool:
        return any(stand.covers(server, at) for stand in stands)

    libspice: list[int] = []
    ours: list[int] = []
    for index in count.lost_indices:
        key = sent[index]
        holder = sent[count.masked[index]] if index in count.masked else None
        excused = stood_still(key.pressed_to, key.pressed_at) or (
            holder is not None and stood_still(holder.released_to, holder.released_at)
        )
        (libspice if excused else ours).append(index)
    return Charge(tuple(libspice), tuple(ours))
