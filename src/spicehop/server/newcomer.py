"""One connection from its first byte to the link result."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Protocol

from spicehop.channels.serving.link import (
    ClientLinked,
    LinkEvent,
    LinkRefused,
    LinkRequested,
    SaslAnswered,
    SaslBegun,
    SaslSelected,
    ServerLink,
    TicketReceived,
)
from spicehop.errors import OperationError
from spicehop.server.listener import AcceptedStream, Origin
from spicehop.server.options import SaslDialogue, SaslProvider
from spicehop.server.tickets import TicketKey
from spicehop.transport.stream import Stream
from spicehop.wire.constants import LinkResult
from spicehop.wire.link import Capabilities, LinkMessage


class Doorkeeper(Protocol):
    """What a newcomer asks the server."""

    @property
    def sasl(self) -> SaslProvider | None:
        """Takes the place of tickets."""

    def refusal(self, message: LinkMessage, origin: Origin) -> int:
        """The `LinkResult` for a channel that cannot be had in this way; OK when it can."""

    def announced(self, kind: int) -> Capabilities:
        """What this side announces for a kind of channel, AUTH_SPICE or AUTH_SASL left out."""

    async def key(self) -> TicketKey:
        """The key to offer."""

    def password_opens(self, key: TicketKey, ciphertext: bytes) -> bool:
        """Whether a ticket lets in now."""

    def placed(self, newcomer: Newcomer) -> None:
        """It is known where it comes from."""

    def counted(self, newcomer: Newcomer, size: int) -> bool:
        """Bytes have come; False when they were too many."""

    def admit(self, newcomer: Newcomer, message: LinkMessage) -> int:
        """It is who it says: the `LinkResult` for the channel."""

    def linked(self, newcomer: Newcomer, linked: ClientLinked) -> None:
        """The channel begins; the stream is the session's."""

    def gone(self, newcomer: Newcomer, reason: str) -> None:
        """It did not come so far."""


class Newcomer:
    """Leads one client through the link stage; the doorkeeper decides."""

    def __init__(self, keeper: Doorkeeper, *, secure: bool, deadline: float) -> None:
        self.stream = AcceptedStream(self, secure=secure)
        self.deadline = deadline
        self._keeper = keeper
        # SASL is for TLS alone: without it a password would be readable.
        sasl = keeper.sasl if secure else None
        self._sasl = sasl
        self._link = ServerLink(sasl.mechanisms if sasl is not None else ())
        self._key: TicketKey | None = None
        self._dialogue: SaslDialogue | None = None
        self._working: asyncio.Task[None] | None = None
        self._over = False

    @property
    def host(self) -> str:
        """Where it comes from."""
        return self.stream.host

    def connection_made(self, connection: int, stream: Stream) -> None:
        """The connection is open, TLS handshake included."""
        if self._over:
            self.stream.abort()
        else:
            self._keeper.placed(self)

    def turn_away(self, reason: str) -> None:
        """For the gate: close it."""
        if not self._over:
            self._end(reason)
            self.stream.abort()

    def _end(self, reason: str) -> None:
        self._over = True
        if self._working is not None:
            self._working.cancel()
        self._keeper.gone(self, reason)

    # -- the link stage ---------------------------------------------------------------------------------------------

    def data_received(self, connection: int, data: bytes) -> None:
        """Bytes have come."""
        if not self._over and self._keeper.counted(self, len(data)):
            self._advance(data)

    def _advance(self, data: bytes) -> None:
        event = self._link.feed(data)
        while event is not None and not self._over:
            self._handle(event)
            event = self._link.feed(b"") if not self._over else None

    def _handle(self, event: LinkEvent) -> None:
        match event:
            case LinkRequested():
                code = self._keeper.refusal(event.message, self.stream.origin)
                if code != LinkResult.OK:
                    self._refuse(code, "this channel cannot be had in this way")
                else:
                    self._work(self._offer(event.message))
            case TicketReceived():
                right = self._key is not None and self._keeper.password_opens(self._key, event.ciphertext)
                self._decide(self._keeper_result(right=right))
            case SaslSelected():
                self.stream.write(event.reply)
            case SaslBegun():
                assert self._sasl is not None
                self._dialogue = self._sasl.begin(event.mechanism)
                self._work(self._sasl_step(event.data))
            case SaslAnswered():
                self._work(self._sasl_step(event.data))
            case LinkRefused():
                self._close(event.reply, event.reason)

    def _work(self, step: Coroutine[None, None, None]) -> None:
        """Take a step that needs time; the link waits for it."""
        self._working = asyncio.get_running_loop().create_task(step)

    async def _offer(self, message: LinkMessage) -> None:
        own = self._keeper.announced(message.channel_type)
        if self._sasl is None:
            self._key = await self._keeper.key()
            public_key = self._key.public_key
        else:
            public_key = b""
        self._working = None
        if not self._over:
            self.stream.write(self._link.offer(public_key, own))
            self._advance(b"")

    async def _sasl_step(self, answer: bytes | None) -> None:
        """In a thread: a password of PLAIN costs some milliseconds, which are not to hold up the sessions."""
        assert self._dialogue is not None
        try:
            challenge, done = await asyncio.to_thread(self._dialogue.step, answer)
        except OperationError as error:
            self._working = None
            self._refuse(LinkResult.PERMISSION_DENIED, str(error))
            return
        self._working = None
        if self._over:
            return
        self.stream.write(self._link.challenge(challenge, done=done))
        if done:
            self._decide(self._keeper_result(right=True))
        else:
            self._advance(b"")

    def _keeper_result(self, *, right: bool) -> int:
        assert self._link.message is not None
        return self._keeper.admit(self, self._link.message) if right else LinkResult.PERMISSION_DENIED

    def _decide(self, code: int) -> None:
        if code != LinkResult.OK:
            self._refuse(code, f"refused with code {code}")
            return
        reply, linked = self._link.accept()
        self._over = True
        self.stream.write(reply)
        self._keeper.linked(self, linked)

    def _refuse(self, code: int, reason: str) -> None:
        self._close(self._link.refuse(code), reason)

    def _close(self, reply: bytes, reason: str) -> None:
        self._end(reason)
        if reply:
            self.stream.write(reply)
        self.stream.finish()

    # -- told by the stream -----------------------------------------------------------------------------------------

    def connection_lost(self, connection: int, reason: str) -> None:
        """It has gone away."""
        if not self._over:
            self._end(reason)

    def writing_blocked(self, connection: int) -> None:
        """It does not read; the deadline ends it."""

    def writing_unblocked(self, connection: int) -> None:
        """It reads again."""
