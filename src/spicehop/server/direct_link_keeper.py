"""What a server process has of the direct link: at most one, as the source's end or as the target's.

The connections and their keys are imported when a link is made: they take memory that most servers never need.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from spicehop.errors import ConnectError, OperationError
from spicehop.server.uri import Address, format_uri, parse_uri
from spicehop.trace import Trace
from spicehop.wire.direct_link import Side

if TYPE_CHECKING:
    from spicehop.server.direct_link import DirectLink, DirectLinkCall, DirectLinkDoor
    from spicehop.server.link_identity import LinkIdentity, PeerCertificate

TAKEN = "There is a direct link already; direct-link-close ends it"
IN_USE = "Sessions are on their way over the direct link"
UNKNOWN_URI = "Parameter 'address' expects unix:PATH or tcp:HOST:PORT"
CALL_AGAIN_SECONDS = 2.0
"""For the source to make a link anew that was cut."""
RETRY_SECONDS = 0.1
MOST_CALLS = 3
"""How often that is done: a link that ends again and again is of no use."""


class DirectLinkKeeper:
    """Implements `DirectLinkControl`.

    `changed` is called when `link` has come, before any message of it is handed out, and when it has gone; whoever
    uses the link sets the link's own `message_received` and `closed` then.
    """

    def __init__(self, name: Callable[[], str], clock: Callable[[], float], *, trace: Trace | None = None) -> None:
        self.changed: Callable[[], None] = lambda: None
        self.in_use: Callable[[], bool] = lambda: False
        """Whether sessions are on their way over the link."""
        self._name = name
        self._clock = clock
        self._trace = trace
        self._made_identity: LinkIdentity | None = None
        self._end: DirectLinkDoor | DirectLinkCall | None = None
        self._side = Side.SOURCE
        self._opened: DirectLink | None = None
        """The link as it was told last."""
        self._reason = ""
        self._called: tuple[Address, PeerCertificate | None] | None = None
        """Whom the source has called; None when management has closed the link."""
        self._calls_left = 0

    @property
    def link(self) -> DirectLink | None:
        """The open link to the other server."""
        return None if self._end is None else self._end.link

    @property
    def side(self) -> Side | None:
        """Which end this server is: the target while it listens, the source while it connects or is connected."""
        if self._end is None:
            return None
        return self._side

    @property
    def _identity(self) -> LinkIdentity:
        if self._made_identity is None:
            from spicehop.server.link_identity import LinkIdentity

            self._made_identity = LinkIdentity()
        return self._made_identity

    @property
    def certificate(self) -> str:
        """This server's, in PEM, for the other one."""
        return self._identity.pem

    async def listen(self, address: str, certificate: str | None) -> str:
        """Be the target: let the source in there; the address with the port that was chosen."""
        if self._end is not None:
            raise OperationError(TAKEN)
        place = parse_uri(address, UNKNOWN_URI)
        from spicehop.server.direct_link import DirectLinkDoor
        from spicehop.server.link_identity import PeerCertificate

        peer = None if certificate is None else PeerCertificate(certificate)
        self._side = Side.TARGET
        self._end = door = DirectLinkDoor(self._name(), self._clock, self._identity, self._noticed)
        door.refused = self._refused
        try:
            opened = format_uri(await door.open(place, peer))
        except BaseException:
            if self._end is door:
                self._end = None
            raise
        self._record("listening", opened)
        return opened

    async def connect(self, address: str, certificate: str | None) -> None:
        """Be the source: connect to the target; the link is there when this returns."""
        if self._end is not None:
            raise OperationError(TAKEN)
        place = parse_uri(address, UNKNOWN_URI)
        from spicehop.server.link_identity import PeerCertificate

        peer = None if certificate is None else PeerCertificate(certificate)
        self._called, self._calls_left = (place, peer), MOST_CALLS
        try:
            await self._call(place, peer)
        except BaseException as error:
            self._record("failed", address, str(error))
            raise

    async def _call(self, place: Address, peer: PeerCertificate | None) -> None:
        from spicehop.server.direct_link import DirectLinkCall

        self._side = Side.SOURCE
        self._end = call = DirectLinkCall(self._name(), self._clock, self._identity, self._noticed)
        try:
            await call.connect(place, peer)
        except BaseException:
            if self._end is call:
                self._end = None
            raise

    @property
    def may_call_again(self) -> bool:
        """Whether the source can make a link anew that has ended: not when management has closed it."""
        return self._called is not None and self._calls_left > 0

    async def call_again(self) -> None:
        """Make a link anew that was cut. `ConnectError` when that cannot be, at once where nobody listens, or when
        management wants none any more.
        """
        self._calls_left -= 1
        until = self._clock() + CALL_AGAIN_SECONDS
        while True:
            if self._called is None or self._end is not None:
                raise ConnectError("management wants no other")
            place, peer = self._called
            try:
                async with asyncio.timeout(max(RETRY_SECONDS, until - self._clock())):
                    await self._call(place, peer)
                return
            except (ConnectError, TimeoutError) as error:
                nobody = isinstance(error.__context__, ConnectionRefusedError | FileNotFoundError)
                if nobody or self._clock() + RETRY_SECONDS >= until:
                    reason = str(error) or f"the target does not answer within {CALL_AGAIN_SECONDS:g} s"
                    self._record("failed", format_uri(place), reason)
                    raise ConnectError(reason) from None
            await asyncio.sleep(RETRY_SECONDS)

    async def close(self, reason: str = "management has closed it") -> None:
        """End the link, whichever end this is; nothing happens when there is none."""
        end = self._end
        self._called = None
        if end is not None:
            await end.close(reason)
            if self._end is end:
                self._end = None

    async def hang_up(self) -> None:
        """For management: the same, but `OperationError` while sessions are on their way."""
        if self.in_use():
            raise OperationError(IN_USE)
        await self.close()

    def describe(self) -> dict[str, object]:
        """What query-direct-link answers."""
        link, side = self.link, self.side
        return {
            "role": "none" if side is None else side.value,
            "connected": link is not None,
            "peer": "" if link is None else link.peer,
            "reason": self._reason,
        }

    def _noticed(self) -> None:
        link = self.link
        if link is self._opened:
            return
        if self._opened is not None:
            self._reason = self._opened.reason
            self._record("ended", self._opened.peer, self._reason)
            if self._side is Side.SOURCE:
                self._end = None  # a door stays open for another try, a call has to be made again
        self._opened = link
        if link is not None:
            self._reason = ""
            self._record("opened", link.peer)
        self.changed()

    def _refused(self, reason: str) -> None:
        self._record("refused", reason=reason)

    def _record(self, what: str, peer: str = "", reason: str = "") -> None:
        if self._trace is not None:
            role = "none" if self.side is None else self.side.value
            self._trace.record(f"direct-link.{what}", role=role, peer=peer, reason=reason)
