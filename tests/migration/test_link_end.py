"""Both ends of a direct link on a clock of the test's own, as charts."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spicehop.errors import ProtocolError, StateError
from spicehop.migration.link_end import (
    HELLO_SECONDS,
    KEEP_ALIVE_SECONDS,
    LINK_END_TABLE,
    SILENCE_SECONDS,
    LinkEnd,
    LinkInput,
    LinkState,
)
from spicehop.wire import direct_link as wire
from spicehop.wire.direct_link import Side

OFFER = wire.SessionOffered(7, ((1, 0), (2, 0)))
EXPECT = wire.SessionExpected(7)
HELLO = wire.encode_frame(wire.Hello(1, 1, "x"))


class Pair:
    """Both ends; `carry` takes what each has written to the other, and gives what was handed out."""

    def __init__(self, *, source: tuple[int, int] = (1, 1), target: tuple[int, int] = (1, 1), name: str = "x") -> None:
        self.now = 100.0
        self.source = LinkEnd(Side.SOURCE, "x", self.now, newest=source[0], oldest_reader=source[1])
        self.target = LinkEnd(Side.TARGET, name, self.now, newest=target[0], oldest_reader=target[1])

    def carry(self) -> list[wire.LinkMessage]:
        handed: list[wire.LinkMessage] = []
        for _ in range(3):
            for one, other in ((self.source, self.target), (self.target, self.source)):
                for data in map(bytes, one.drain()):
                    other.feed(data, self.now)
                while (message := other.next_message()) is not None:
                    handed.append(message)
        return handed

    def wait(self, seconds: float, *, speaking: tuple[LinkEnd, ...]) -> None:
        """Let time pass, for these ends with what they do at their deadlines."""
        end = self.now + seconds
        while self.now < end:
            self.now = min([end, *(due for one in speaking if (due := one.next_deadline()) is not None)])
            for one in speaking:
                one.handle_timer(self.now)
            self.carry()


@pytest.fixture
def pair() -> Pair:
    pair = Pair()
    pair.carry()
    return pair


def test_it_opens_with_a_hello_from_each() -> None:
    pair = Pair(source=(3, 1), target=(2, 2))
    handed = pair.carry()
    assert handed == [wire.Hello(3, 1, "x"), wire.Hello(2, 2, "x")]
    assert (pair.source.state, pair.target.state) == (LinkState.OPEN, LinkState.OPEN)
    assert (pair.source.format, pair.target.format) == (2, 2)
    assert pair.source.peer == wire.Hello(2, 2, "x")


def test_messages_go_both_ways(pair: Pair) -> None:
    pair.source.send(OFFER, pair.now)
    pair.target.send(EXPECT, pair.now)
    assert pair.carry() == [OFFER, EXPECT]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"source": (1, 1), "target": (4, 3)}, "one side speaks format 1"),
        ({"name": "y"}, "guest is"),
    ],
)
def test_both_know_why_it_does_not_open(changes: dict[str, object], sentence: str) -> None:
    pair = Pair(**changes)  # type: ignore[arg-type]
    pair.carry()
    for end in (pair.source, pair.target):
        assert end.over
        assert sentence in end.reason
        assert end.peer is None


def test_a_goodbye_can_come_instead_of_a_hello() -> None:
    end = LinkEnd(Side.SOURCE, "x", 0.0)
    end.feed(wire.PREAMBLE + wire.encode_frame(wire.Goodbye("another source is here")), 0.0)
    assert end.next_message() is None
    assert (end.over, end.reason) == (True, "another source is here")


@pytest.mark.parametrize("closer", ["source", "target"])
def test_a_close_is_told(pair: Pair, closer: str) -> None:
    """What was sent before it arrives before it."""
    pair.source.send(OFFER, pair.now)
    pair.target.send(EXPECT, pair.now)
    getattr(pair, closer).close("management has closed it")
    assert pair.carry() == ([OFFER] if closer == "source" else [EXPECT])
    assert pair.source.reason == pair.target.reason == "management has closed it"


@pytest.mark.parametrize(
    ("first", "sentence"),
    [
        (b"GET / HTTP/1.1\r\n", "not the direct link"),
        (wire.PREAMBLE + wire.encode_frame(EXPECT), "another message received is not possible"),
        (wire.PREAMBLE + wire.encode_frame(wire.KeepAlive()), "is not possible in the state AwaitingHello"),
        (wire.PREAMBLE + HELLO * 2, "Hello received is not possible in the state Open"),
        (wire.PREAMBLE + HELLO + bytes(8), "kind 0 is not known"),
        (wire.PREAMBLE + HELLO + wire.encode_frame(OFFER), "a target does not send"),
    ],
)
def test_a_peer_at_fault_is_told_so(first: bytes, sentence: str) -> None:
    end = LinkEnd(Side.SOURCE, "x", 0.0)
    end.drain()
    end.feed(first, 0.0)
    while end.next_message() is not None:
        pass
    assert end.over
    assert sentence in end.reason
    assert end.drain() == [wire.encode_frame(wire.Goodbye(end.reason))]
    end.feed(wire.encode_frame(EXPECT), 1.0)
    assert end.next_message() is None


def test_who_has_nothing_to_say_stays(pair: Pair) -> None:
    pair.wait(10 * SILENCE_SECONDS, speaking=(pair.source, pair.target))
    assert (pair.source.state, pair.target.state) == (LinkState.OPEN, LinkState.OPEN)


def test_who_has_just_spoken_says_nothing_more(pair: Pair) -> None:
    pair.now += KEEP_ALIVE_SECONDS - 0.1
    pair.source.send(OFFER, pair.now)
    pair.source.drain()
    pair.source.handle_timer(pair.now + KEEP_ALIVE_SECONDS - 0.1)
    assert pair.source.drain() == []
    pair.source.handle_timer(pair.now + KEEP_ALIVE_SECONDS)
    assert pair.source.drain() == [wire.encode_frame(wire.KeepAlive())]


def test_a_silent_peer_is_gone(pair: Pair) -> None:
    pair.wait(SILENCE_SECONDS - 0.1, speaking=(pair.source,))
    assert pair.source.state is LinkState.OPEN
    pair.wait(0.2, speaking=(pair.source,))
    assert pair.source.reason == pair.target.reason == "the target has been silent for 8 s"


def test_a_message_that_is_long_under_way_is_no_silence(pair: Pair) -> None:
    for byte in wire.encode_frame(wire.SessionLinked(7, tuple((1, number) for number in range(20)))):
        pair.now += SILENCE_SECONDS - 1
        pair.source.feed(bytes((byte,)), pair.now)
        pair.source.handle_timer(pair.now)
    assert pair.source.next_message() is not None
    assert pair.source.state is LinkState.OPEN


def test_a_hello_that_dribbles_in_is_too_slow() -> None:
    end = LinkEnd(Side.TARGET, "x", 0.0)
    for second, byte in enumerate(wire.PREAMBLE):
        end.feed(bytes((byte,)), float(second))
        end.next_message()
        end.handle_timer(float(second))
    assert end.reason == f"the source has not said Hello within {HELLO_SECONDS:g} s"
    assert end.next_deadline() is None


def test_a_connection_lost_in_the_middle_of_a_message(pair: Pair) -> None:
    pair.source.feed(wire.encode_frame(EXPECT)[:-1], pair.now)
    assert pair.source.next_message() is None
    pair.source.connection_lost("the peer closed it")
    assert pair.source.reason == "the peer closed it, in the middle of a message"
    pair.source.connection_lost("again")
    pair.source.close("again")
    assert pair.source.reason.endswith("message")


def test_what_a_caller_may_not_send(pair: Pair) -> None:
    for message, end in ((EXPECT, pair.source), (wire.LateBytes(1, 2, 3, bytes(2 << 20)), pair.source)):
        with pytest.raises(StateError):
            end.send(message, pair.now)
    with pytest.raises(StateError):
        LinkEnd(Side.SOURCE, "x", 0.0).send(OFFER, 0.0)
    pair.source.close("enough")
    with pytest.raises(StateError):
        pair.source.send(OFFER, pair.now)
    assert pair.carry() == []


@pytest.mark.parametrize("happened", LinkInput)
@pytest.mark.parametrize("state", LinkState)
def test_each_pair_of_the_table(state: LinkState, happened: LinkInput) -> None:
    """Whatever is there ends it or needs a Hello first; nothing leaves the end."""
    row = LINK_END_TABLE.get((state, happened))
    if state is LinkState.OVER:
        assert row is None
    elif happened in (LinkInput.HELLO_RECEIVED, LinkInput.MESSAGE_RECEIVED):
        first = state is LinkState.AWAITING_HELLO
        assert (row is not None) is (first is (happened is LinkInput.HELLO_RECEIVED))
        assert row is None or row[1] is LinkState.OPEN
    else:
        assert row is not None
        assert row[1] is LinkState.OVER


@given(st.lists(st.binary(max_size=60), max_size=8), st.booleans())
@settings(max_examples=150, deadline=None)
def test_noise_ends_it_at_most(chunks: list[bytes], greeted: bool) -> None:
    end = LinkEnd(Side.TARGET, "x", 0.0)
    if greeted:
        chunks = [wire.PREAMBLE + HELLO, *chunks]
    for at, chunk in enumerate(chunks):
        try:
            end.feed(chunk, float(at))
            while end.next_message() is not None:
                pass
        except ProtocolError:  # pragma: no cover
            pytest.fail("the peer's fault was raised")
        end.handle_timer(float(at))
    assert end.over or not end.reason
