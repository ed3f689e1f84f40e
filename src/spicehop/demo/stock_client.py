"""spice-gtk at work beside our client, at the same servers: it types keys of its own and goes along with each move.

    async with StockClient("0.42", port, directory, trace, progress) as stock:
        await stock.join(control, {our_connection_id})
        ...
        stock.follow(hop)          # after each move
        await stock.stop_work()
        await stock.compare(control, pictures)
    report = stock.report(log)

Nothing that goes wrong with it is raised: the first such thing is in the report, and from then on it is left alone.
Each wait has its limit, and the process ends with the `async with`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from spicehop.codecs.sound import CHANNELS, RATE
from spicehop.conductor.qmp import QmpAddress, QmpPeer
from spicehop.demo.gtk_client import Event, GtkClient
from spicehop.demo.keys import OTHER_CODES, KeyPlan, count_keys
from spicehop.demo.report import Hop
from spicehop.demo.serial import PRESSED, SerialLog
from spicehop.demo.stock_report import StockMove, StockReport, StockView
from spicehop.demo.work import Progress, pixels_that_differ
from spicehop.errors import OperationError, SpicehopError
from spicehop.migration.conducting_result import Fate
from spicehop.trace import Trace

NAME = "spice-gtk"
JOIN_SECONDS = 15.0
STOP_SECONDS = 10.0
SAVE_SECONDS = 10.0
PLANNED_KEYS = 8_000
"""After so many it begins anew."""
_GOES_ON = (Fate.SEAMLESS, Fate.SEMI_SEAMLESS, Fate.SWITCH_HOST, Fate.SAME_ID, Fate.NEW_ID)
_BYTES_A_SECOND = RATE * CHANNELS * 2


class StockClient:
    """See the module. `trace` is told what it says of its channels and its moves, `progress` when it is lost."""

    def __init__(self, version: str, port: int, directory: Path, trace: Trace, progress: Progress) -> None:
        self.trouble = ""
        """Why it is left alone; empty while it works."""
        self._version = version
        self._directory = directory
        self._trace = trace.for_party(NAME)
        self._progress = progress
        self._client = GtkClient(port, directory, name=NAME, fatal_criticals=False)
        self._stack = AsyncExitStack()
        self._connection_id = 0
        self._channels: tuple[str, ...] = ()
        self._worked: slice = slice(0)
        """Which of its events came while it worked."""
        self._followed = 0
        """Number of the first event after the last move."""
        self._made = 0
        self._moves: list[StockMove] = []
        self._sent: list[int] | None = None
        self._view: StockView | None = None
        self._pixels_differ: int | None = None

    async def __aenter__(self) -> Self:
        self._client.listeners.append(self._record)
        await self._stack.enter_async_context(self._client)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()
        self._client.echo_path.unlink(missing_ok=True)  # it has no port

    async def join(self, control: str, others: Collection[int], *, keys_per_second: float) -> None:
        """Wait until its session is open, and let it type; `others` are the connection ids of the other clients at the
        server that has the control socket `control`.
        """
        await self._attempt(lambda: self._join(control, others, keys_per_second), JOIN_SECONDS)

    def follow(self, hop: Hop) -> None:
        """Note what became of its session in a move that is over."""
        self._made += 1
        if not self._is_alive(f"in move {hop.number}"):
            return
        found = next((one for one in hop.sessions if one.connection_id == self._connection_id), None)
        told = [one for one in self._client.events[self._followed :] if one["event"] == "migration-state"]
        self._followed = len(self._client.events)
        whole = len(told) > 1 and told[-1]["state"] == "none"
        if found is None or found.fate not in _GOES_ON:
            why = "the source did not tell of it" if found is None else found.reason or found.fate.value
            self._lost(f"{NAME} lost its session in move {hop.number}: {why}")
            return
        move = StockMove(
            number=hop.number,
            scheme=found.fate.value,
            carrier=found.carrier,
            reason=found.reason,
            channels={name: fate.value for name, fate in found.channels.items()},
            seconds=round(told[-1]["t"] - told[0]["t"], 3) if whole else None,
        )
        self._moves.append(move)

    async def stop_work(self, offered: int) -> None:
        """It types no further, and tells what it has done and seen. The guest has `offered` its text so often."""
        await self._attempt(lambda: self._stop_work(offered), STOP_SECONDS)

    async def compare(self, monitor: str, pictures: Path) -> None:
        """Compare its picture with the server's, whose control socket is `monitor`; see `work.compare`."""
        await self._attempt(lambda: self._compare(monitor, pictures), 10 * SAVE_SECONDS)

    def report(self, log: SerialLog) -> StockReport:
        """All of it, by the guest's whole log."""
        worked = self._client.events[self._worked]
        return StockReport(
            version=self._version,
            connection_id=self._connection_id,
            channels=self._channels,
            moves_made=self._made,
            moves=tuple(self._moves),
            opened=tuple(_channel(one) for one in worked if _opens(one)),
            closed=tuple(f"{_channel(one)} {one.get('what', 'gone')}" for one in worked if _closes(one)),
            criticals=tuple(self._client.criticals),
            keys=None if self._sent is None else count_keys(self._sent, log, OTHER_CODES),
            view=self._view,
            pixels_differ=self._pixels_differ,
            trouble=self.trouble,
        )

    # -- inner things -----------------------------------------------------------------------------------------------

    async def _join(self, control: str, others: Collection[int], keys_per_second: float) -> None:
        client = self._client
        await client.wait_for(lambda: self._is_open() or self._is_refused(), "its channels")
        if not self._is_open():
            raise OperationError("its session was not opened")
        ids = await connection_ids(control) - set(others)
        if len(ids) != 1:
            raise OperationError(f"the server tells of {len(ids)} sessions beside ours")
        self._connection_id = ids.pop()
        self._channels = tuple(_channel(one) for one in client.events if _opens(one))
        for event in client.events:
            self._record(event)
        self._followed = len(client.events)
        self._worked = slice(self._followed, None)
        client.send("watch")
        client.send("type", codes=KeyPlan(typed=OTHER_CODES).codes(PLANNED_KEYS), hz=keys_per_second)

    def _is_open(self) -> bool:
        """Whether it can be typed at, shows, plays and has found the agent."""
        seen = self._client.seen
        opened = seen("channel-event", kind="InputsChannel", what="opened") and seen("mark") and seen("playing")
        return bool(opened and seen("agent", connected=True))

    def _is_refused(self) -> bool:
        return any(_closes(one) or one["event"] == "disconnected" for one in self._client.events)

    async def _stop_work(self, offered: int) -> None:
        client, file = self._client, self._directory / f"{NAME}.keys.json"
        client.send("stop-typing", file=str(file))
        await client.wait_event("typing-stopped", file=str(file))
        self._sent = [code for code, value, _ in json.loads(file.read_text()) if value == PRESSED]
        file.unlink()
        client.send("watched")
        frames = (await client.wait_event("watched"))["frames"]
        client.send("totals")
        totals = await client.wait_event("totals")
        whole = sum(one["numbered"] for one in client.events if one["event"] == "clipboard")
        self._view = StockView(len(set(frames)), round(totals["sound"] / _BYTES_A_SECOND, 2), offered, whole)

    async def _compare(self, monitor: str, pictures: Path) -> None:
        self._pixels_differ = await pixels_that_differ(monitor, pictures, self._picture)
        self._worked = slice(self._worked.start, len(self._client.events))

    async def _picture(self) -> npt.NDArray[np.uint8]:
        from PIL import Image

        file = self._directory / f"{NAME}.ppm"
        before = sum(one["event"] == "saved" for one in self._client.events)
        self._client.send("save", file=str(file.resolve()))
        await self._client.wait_for(
            lambda: sum(one["event"] == "saved" for one in self._client.events) > before, "its picture", SAVE_SECONDS
        )
        with Image.open(file) as picture:
            shown = np.asarray(picture.convert("RGB"))
        file.unlink()
        return shown

    async def _attempt(self, work: Callable[[], Awaitable[None]], seconds: float) -> None:
        """Do it while it works; what goes wrong ends its work."""
        if not self._is_alive("while it worked"):
            return
        try:
            async with asyncio.timeout(seconds):
                await work()
        except TimeoutError:
            self._lost(f"{NAME} did not answer in {seconds:g} s")
        except (SpicehopError, OSError, ValueError, KeyError) as error:
            self._lost(str(error) if str(error).startswith(NAME) else f"{NAME}: {error}")

    def _is_alive(self, when: str) -> bool:
        if not self.trouble and self._client.returncode is not None:
            self._lost(f"{NAME} {self._client.ending} {when}")
        return not self.trouble

    def _lost(self, sentence: str) -> None:
        self.trouble = sentence
        self._progress(sentence)

    def _record(self, event: Event) -> None:
        """Into the timeline; before its session's number is known nothing is, and then all that there was."""
        if not self._connection_id:
            return
        session, at = self._connection_id, event["t"]
        if _opens(event) or _closes(event):
            what = event.get("what", "gone")
            self._trace.record("stock.channel", session=session, channel=_channel(event), at=at, what=what)
        elif event["event"] == "migration-state" and event["state"] == "none":
            self._trace.record("stock.migrated", session=session, at=at)
        elif event["event"] == "migration-state":
            self._trace.record("stock.migrating", session=session, at=at, state=event["state"])
        elif event["event"] == "disconnected":
            self._trace.record("stock.disconnected", session=session, at=at)


async def connection_ids(control: str) -> set[int]:
    """Of all sessions at a server."""
    peer = QmpPeer("server", QmpAddress.parse(control))
    await peer.connect()
    try:
        known: Any = await peer.execute("query-spice", {})
    finally:
        await peer.close()
    return {one["connection-id"] & 0xFFFF_FFFF for one in known["channels"]}  # which QMP says signed


def _opens(event: Event) -> bool:
    return bool(event["event"] == "channel-event" and event["what"] == "opened")


def _closes(event: Event) -> bool:
    return bool(event["event"] == "channel-gone" or (event["event"] == "channel-event" and event["what"] != "opened"))


def _channel(event: Event) -> str:
    return str(event["kind"]).removesuffix("Channel").lower()
