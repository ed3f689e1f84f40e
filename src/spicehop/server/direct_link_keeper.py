"""What a server process has of the direct link: at most one, as the source's end or as the target's.

The connections and their keys are imported when a link is made: they take memory that most servers never need.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from spicehop.errors import OperationError
from spicehop.server.uri import format_uri, parse_uri
from spicehop.trace import Trace
from spicehop.wire.direct_link import Side

if TYPE_CHECKING:
    from spicehop.server.direct_link import DirectLink, DirectLinkCall, DirectLinkDoor
    from spicehop.server.link_identity import LinkIdentity

TAKEN = "There is a direct link already; direct-link-close ends it"
UNKNOWN_URI = "Parameter 'address' expects unix:PATH or tcp:HOST:PORT"


class DirectLinkKeeper:
    """Implements `DirectLinkControl`.

    `changed` is called when `link` has come, before any message of it is handed out, and when it has gone; whoever
    uses the link sets the link's own `message_received` and `closed` then.
    """

    def __init__(self, name: Callable[[], str], clock: Callable[[], float], *, trace: Trace | None = None) -> None:
        self.changed: Callable[[], None] = lambda: None
        self._name = name
        self._clock = clock
        self._trace = trace
        self._made_identity: LinkIdentity | None = None
        self._end: DirectLinkDoor | DirectLinkCall | None = None
        self._side = Side.SOURCE
        self._opened: DirectLink | None = None
        """The link as it was told last."""
        self._reason = ""

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
        from spicehop.server.direct_link import DirectLinkCall
        from spicehop.server.link_identity import PeerCertificate

        peer = None if certificate is None else PeerCertificate(certificate)
        self._side = Side.SOURCE
        self._end = call = DirectLinkCall(self._name(), self._clock, self._identity, self._noticed)
        try:
            await call.connect(place, peer)
        except BaseException as error:
            if self._end is call:
                self._end = None
            self._record("failed", address, str(error))
            raise

    async def close(self, reason: str = "management has closed it") -> None:
        """End the link, whichever end this is; nothing happens when there is none."""
        end = self._end
        if end is not None:
            await end.close(reason)
            if self._end is end:
                self._end = None

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
