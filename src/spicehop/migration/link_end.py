"""One end of the direct link between two servers, without I/O: the Hello, who is still there, and the end of it.

The caller feeds bytes and the time, takes messages with `next_message`, bytes to write with `drain`, and calls
`handle_timer` at `next_deadline`. Nothing here raises because of the peer: a link that cannot go on is `over`, and
`reason` says why.
"""

from __future__ import annotations

from enum import Enum

from spicehop.channels.machine import Machine
from spicehop.errors import ProtocolError, StateError
from spicehop.wire import direct_link as wire
from spicehop.wire.direct_link import FORMAT, OLDEST_READER, FrameReader, Goodbye, Hello, KeepAlive, LinkMessage, Side
from spicehop.wire.layout import Data

HELLO_SECONDS = 8.0
"""For the peer's Hello, however slowly it comes."""
KEEP_ALIVE_SECONDS = 2.0
"""Who has said nothing for so long says that it is there."""
SILENCE_SECONDS = 8.0
"""Who has been silent for so long is gone."""


class LinkState(Enum):
    """Where this end stands."""

    AWAITING_HELLO = "AwaitingHello"
    OPEN = "Open"
    OVER = "Over"


class LinkInput(Enum):
    """What happened."""

    HELLO_RECEIVED = "Hello received"
    MESSAGE_RECEIVED = "another message received"
    GOODBYE_RECEIVED = "Goodbye received"
    FAULT_FOUND = "peer silent or at fault"
    CLOSE_REQUESTED = "close requested"
    CONNECTION_LOST = "connection lost"


class LinkAction(Enum):
    """What this end does."""

    AGREE = "agree on a format"
    HAND_OUT = "hand it out"
    TAKE_LEAVE = "say why and end"
    END = "end"


LINK_END_TABLE = {
    (LinkState.AWAITING_HELLO, LinkInput.HELLO_RECEIVED): (LinkAction.AGREE, LinkState.OPEN),
    (LinkState.AWAITING_HELLO, LinkInput.GOODBYE_RECEIVED): (LinkAction.END, LinkState.OVER),
    (LinkState.AWAITING_HELLO, LinkInput.FAULT_FOUND): (LinkAction.TAKE_LEAVE, LinkState.OVER),
    (LinkState.AWAITING_HELLO, LinkInput.CLOSE_REQUESTED): (LinkAction.TAKE_LEAVE, LinkState.OVER),
    (LinkState.AWAITING_HELLO, LinkInput.CONNECTION_LOST): (LinkAction.END, LinkState.OVER),
    (LinkState.OPEN, LinkInput.MESSAGE_RECEIVED): (LinkAction.HAND_OUT, LinkState.OPEN),
    (LinkState.OPEN, LinkInput.GOODBYE_RECEIVED): (LinkAction.END, LinkState.OVER),
    (LinkState.OPEN, LinkInput.FAULT_FOUND): (LinkAction.TAKE_LEAVE, LinkState.OVER),
    (LinkState.OPEN, LinkInput.CLOSE_REQUESTED): (LinkAction.TAKE_LEAVE, LinkState.OVER),
    (LinkState.OPEN, LinkInput.CONNECTION_LOST): (LinkAction.END, LinkState.OVER),
}
"""A message that is absent ends the link; whatever else comes when it is over is of no interest."""


class LinkEnd:
    """This server's end; `side` says which of both it is, `name` is its guest's."""

    def __init__(
        self, side: Side, name: str, now: float, *, newest: int = FORMAT, oldest_reader: int = OLDEST_READER
    ) -> None:
        self.reason = ""
        """Why it is over, in one sentence."""
        self.took_leave = False
        """Whether this end told the peer so: then let the peer close first, for the Goodbye to arrive."""
        self.left_too = False
        """After that: the peer has taken its leave as well, and nobody need wait for the other."""
        self.peer: Hello | None = None
        """What the other server has said of itself, once the link is open."""
        self.format = 0
        """What is spoken, once the link is open."""
        self._side = side
        self._machine = Machine("direct link", LINK_END_TABLE, LinkState.AWAITING_HELLO)
        self._hello = Hello(newest, oldest_reader, name)
        self._reader = FrameReader(side.other)
        self._readable = True
        self._began = self._heard = now
        self._said = now
        self._out: list[Data] = [wire.PREAMBLE + wire.encode_frame(self._hello)]

    @property
    def state(self) -> LinkState:
        """Where it stands."""
        return self._machine.state

    @property
    def over(self) -> bool:
        """Whether it has ended; then write what `drain` gives, and close."""
        return self.state is LinkState.OVER

    def feed(self, data: bytes, now: float) -> None:
        """Bytes have come; then `next_message`."""
        if not self.over:
            self._heard = now
            self._reader.feed(data)
        elif self._readable and not self.left_too:
            self._reader.feed(data)
            self._await_goodbye()

    def next_message(self) -> LinkMessage | None:
        """What the peer has said next; the first is its `Hello`, with which the link is open.

        None when there is nothing whole, or when the link is over.
        """
        while not self.over:
            try:
                message = self._reader.next_message()
                if message is None or self._wanted(message):
                    return message
            except ProtocolError as error:
                self._readable = False
                self._happened(LinkInput.FAULT_FOUND, str(error))
        return None

    def send(self, message: LinkMessage, now: float) -> None:
        """Queue a message. `StateError` when the link is not open, or for one that is not this side's or too large."""
        if self.state is not LinkState.OPEN:
            raise StateError("nothing can be sent on a direct link that is not open")
        if message.SENDER not in (None, self._side):
            raise StateError(f"a {self._side.value} does not send {type(message).__name__}")
        self._say(message)
        self._said = now

    def close(self, reason: str) -> None:
        """End it, and tell the peer why."""
        self._happened(LinkInput.CLOSE_REQUESTED, reason)

    def refuse(self, reason: str) -> None:
        """Say Goodbye in place of a Hello; nothing has been drained."""
        self._out = [wire.PREAMBLE]
        self.close(reason)

    def connection_lost(self, reason: str) -> None:
        """There is no connection any more."""
        if self._reader.halfway:
            reason = f"{reason}, in the middle of a message"
        self._happened(LinkInput.CONNECTION_LOST, reason)

    def drain(self) -> list[Data]:
        """What is to be written, in order."""
        out, self._out = self._out, []
        return out

    def handle_timer(self, now: float) -> None:
        """Some time has passed."""
        peer = self._side.other.value
        if self.state is LinkState.AWAITING_HELLO and now >= self._began + HELLO_SECONDS:
            self._happened(LinkInput.FAULT_FOUND, f"the {peer} has not said Hello within {HELLO_SECONDS:g} s")
        elif self.state is LinkState.OPEN and now >= self._heard + SILENCE_SECONDS:
            self._happened(LinkInput.FAULT_FOUND, f"the {peer} has been silent for {SILENCE_SECONDS:g} s")
        elif self.state is LinkState.OPEN and now >= self._said + KEEP_ALIVE_SECONDS:
            self._say(KeepAlive())
            self._said = now

    def next_deadline(self) -> float | None:
        """When `handle_timer` has something to do; None when the link is over."""
        if self.over:
            return None
        if self.state is LinkState.AWAITING_HELLO:
            return self._began + HELLO_SECONDS
        return min(self._heard + SILENCE_SECONDS, self._said + KEEP_ALIVE_SECONDS)

    def _wanted(self, message: LinkMessage) -> bool:
        """Whether the caller is to see it."""
        if isinstance(message, Goodbye):
            self._happened(LinkInput.GOODBYE_RECEIVED, message.reason or "the other server gave no reason")
            return False
        if isinstance(message, Hello):
            self._machine.step(LinkInput.HELLO_RECEIVED)
            return self._agree(message)
        self._machine.step(LinkInput.MESSAGE_RECEIVED)
        return not isinstance(message, KeepAlive)

    def _agree(self, theirs: Hello) -> bool:
        try:
            self.format = wire.agreed_format(self._hello, theirs)
            if theirs.name != self._hello.name:
                name = {self._side: self._hello.name, self._side.other: theirs.name}
                raise ProtocolError(f"the source's guest is {name[Side.SOURCE]!r}, the target's {name[Side.TARGET]!r}")
        except ProtocolError as error:
            self._happened(LinkInput.FAULT_FOUND, str(error))
            return False
        self.peer = theirs
        return True

    def _await_goodbye(self) -> None:
        """This end has taken leave; whatever else comes is of no interest."""
        try:
            while (message := self._reader.next_message()) is not None:
                self.left_too = self.left_too or isinstance(message, Goodbye)
        except ProtocolError:
            self._readable = False

    def _happened(self, what: LinkInput, reason: str) -> None:
        if not self._machine.takes(what):
            return  # it is over
        self.reason = reason
        if self._machine.step(what, from_peer=False) is LinkAction.TAKE_LEAVE:
            self.took_leave = True
            self._say(Goodbye(reason))

    def _say(self, message: LinkMessage) -> None:
        self._out += wire.encode_parts(message)
