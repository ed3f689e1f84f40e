"""The way of a client session from its server to the next: carries out what the client table says."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from spicehop.channels.channel import Connection
from spicehop.channels.link import Linked
from spicehop.channels.main import SEAMLESS, SEMI_SEAMLESS, SWITCH_HOST
from spicehop.channels.vmc import VmcChannel
from spicehop.errors import ConnectError, ConnectionLost, LinkError, ProtocolError, SpicehopError
from spicehop.migration import commands as c
from spicehop.migration.client import ClientAction, ClientInput, ClientState
from spicehop.migration.commands import Address, ChannelKey, ChannelOutcome, name_of
from spicehop.migration.links import Link, Role, Target
from spicehop.wire import main, registry
from spicehop.wire.constants import ChannelType, Direction, LinkResult, MainCap
from spicehop.wire.framing import encode_frame
from spicehop.wire.layout import Message

if TYPE_CHECKING:
    from spicehop.migration.session import ClientSession

MAIN: ChannelKey = (ChannelType.MAIN, 0)
ESSENTIAL = frozenset({ChannelType.MAIN, ChannelType.DISPLAY, ChannelType.INPUTS})
"""Without one of these the target is of no use; any other missing channel is reported and left behind."""
LINKING_DEADLINE = 30.0
"""Seconds for the whole target to be linked; the source gives up after 10 (dossier C3), a slow link still may help."""
SWITCHING_DEADLINE = 15.0
"""Seconds from the first MIGRATE to the last swap; libspice closes what has not moved after 10 (dossier C3)."""
INIT_DEADLINE = 10.0
SWITCH_HOST_DEADLINE = 30.0
SWITCH_HOST_PAUSE = 1.0
"""Seconds between attempts to reach the host a session was switched to."""


class Travel:
    """Moves one session; everything here happens inside the calls of `ClientSession`."""

    def __init__(self, session: ClientSession) -> None:
        self._session = session
        self.target: Target | None = None
        self._deadline: float | None = None
        self._retry_at: float | None = None
        self._switched = 0.0
        self._reason = ""
        self._scheme = SEAMLESS
        self._moved: dict[ChannelKey, ChannelOutcome] = {}
        self._left_behind: dict[ChannelKey, tuple[Link, Connection]] = {}
        self._called_off: set[ChannelKey] = set()
        """Channels whose MIGRATE may still come though the source has called the migration off."""
        self._postponed: main.MigrateBegin | main.MigrateBeginSeamless | None = None
        self._last_error: SpicehopError | None = None
        self._left_from = ""
        self.actions: dict[ClientAction, Callable[[float], None]] = {
            ClientAction.REPORT_SEAMLESS: self._report_seamless,
            ClientAction.REPORT_CONNECTED: self._report_connected,
            ClientAction.REPORT_ERROR: self._report_error,
            ClientAction.FORGET_TARGET: self._forget_target,
            ClientAction.BRING_BACK: self._bring_back,
            ClientAction.START_SWITCHING: self._start_switching,
            ClientAction.KEEP_SWITCHING: self._nothing,
            ClientAction.FINISH_SEAMLESS: self._finish_seamless,
            ClientAction.FINISH_PARTLY: self._finish_partly,
            ClientAction.GO_TO_TARGET: self._go_to_target,
            ClientAction.RESTART_CHANNELS: self._restart_channels,
            ClientAction.FALL_BACK: self._fall_back,
            ClientAction.FINISH_SWITCH_HOST: self._finish_switch_host,
            ClientAction.TRY_AGAIN: self._try_again,
            ClientAction.END_SESSION: self._end_session,
            ClientAction.NOTHING: self._nothing,
        }
        """How each action is carried out that does not need the message that caused it."""

    def _step(self, happened: ClientInput, now: float) -> None:
        action = self._session.machine.step(happened)
        self._session.note("migration.step", input=happened.value, action=action.value, state=self._session.state.value)
        self.actions[action](now)

    # -- what the source says ---------------------------------------------------------------------------------------

    def message_received(self, message: Message, now: float) -> None:
        """A migration message has come on the main channel."""
        match message:
            case main.MigrateBegin() | main.MigrateBeginSeamless():
                self._begin_received(message, now)
            case main.MigrateSwitchHost():
                linking = self._session.state is ClientState.LINKING_TARGET
                self._session.machine.step(ClientInput.SWITCH_HOST_RECEIVED)
                reason = self.target.reason if self.target is not None else ""
                if not reason and linking:
                    reason = "the machine had moved before the client had linked the target"
                address = self._session.hosts.target(message, secure=self._session.secure)
                self._switch_host(address, reason or "the source told the client to switch host", now)
            case main.MigrateCancel():
                self._session.note("migration.cancel")
                self._cancel_received(now)
            case main.MigrateEnd():
                self._session.note("migration.end")
                match self._session.state:
                    case ClientState.LINKING_TARGET:
                        self._reason = "the source ended the migration before the client was ready"
                    case ClientState.READY_SEAMLESS:
                        self._reason = "the source ended the migration without handing its channels over"
                self._step(ClientInput.MIGRATE_END_RECEIVED, now)
            case _:
                pass

    def _begin_received(self, message: main.MigrateBegin | main.MigrateBeginSeamless, now: float) -> None:
        action = self._session.machine.step(ClientInput.BEGIN_RECEIVED)
        if action is ClientAction.POSTPONE_BEGIN:
            self._session.note("migration.postponed")
            self._postponed = message
            return
        if action is ClientAction.LINK_OTHER_TARGET:
            self._session.note("migration.replaced")
        if self.target is not None:
            self._session.emit(c.MigrationAborted(self.target.reason or "the source named another target"))
        self._link_target(message, now)

    def _cancel_received(self, now: float) -> None:
        """From a target that has main already, it can only mean a migration that waits for this one to end."""
        at_target = MAIN in self._left_behind or self._session.state is ClientState.AWAITING_TARGET_INIT
        postponed, self._postponed = self._postponed, None
        if at_target:
            self._session.note("migration.cancel-too-late" if postponed is None else "migration.postponed-cancelled")
            return
        if self.target is not None:
            self._reason = "the source cancelled the migration"
        if self._session.state is ClientState.READY_SEAMLESS:
            # A source that takes its session back has perhaps told other channels to go before.
            self._called_off = {key for key in self._session.channels if self._session.current(key) and key != MAIN}
        self._step(ClientInput.CANCEL_RECEIVED, now)

    # -- linking the target -----------------------------------------------------------------------------------------

    def _link_target(self, message: main.MigrateBegin | main.MigrateBeginSeamless, now: float) -> None:
        self._drop_target()
        self._reason, self._last_error = "", None
        self._called_off.clear()
        seamless = isinstance(message, main.MigrateBeginSeamless) and SEAMLESS in self._session.main.schemes
        version = message.source_version if isinstance(message, main.MigrateBeginSeamless) else 0
        self.target = Target(self._session.hosts.target(message, secure=self._session.secure), seamless, version, now)
        if not seamless:
            self.target.reason = "the source does not hand over state"
        self._deadline = now + LINKING_DEADLINE
        self._expect_stop(now)
        self._note_address("migration.begin", self.target.address, scheme=SEAMLESS if seamless else SEMI_SEAMLESS)
        self._session.emit(c.MigrationStarted(self.target.address))
        if not self.target.address.host:
            self.target.reason = "the source did not say where the target is"
            self._step(ClientInput.TARGET_FAILED, now)
            return
        self.target.links[MAIN] = self._session.connect(MAIN, self.target.address, Role.TARGET, now)

    def target_linked(self, link: Link, now: float) -> None:
        """A connection to the target has passed the link stage."""
        target = self.target
        if target is None or link.key not in target.links:
            return
        assert link.linked is not None
        if link.key == MAIN:
            self._session.note("migration.target-linked", MAIN, server=str(link.address))
            if target.wants_seamless and MainCap.SEAMLESS_MIGRATE in link.linked.capabilities.channel:
                request = main.MigrateDstDoSeamless(target.source_version)
                number = registry.number_of(request, ChannelType.MAIN, Direction.FROM_CLIENT)
                frame = encode_frame(number, request.encode(), mini_header=link.linked.mini_header, serial=1)
                self._session.command(c.Send(link.id, frame))
                link.hold(link.linked.rest)
                link.linked = Linked(link.linked.capabilities, link.linked.mini_header, b"")
                self.parked_data(link, b"", now)
                return
            if target.wants_seamless:
                target.reason = "the target cannot restore state"
            target.answered = False
            self._link_others(now)
        self._session.command(c.PauseReading(link.id))
        self._check_ready(now)

    def parked_data(self, link: Link, data: bytes, now: float) -> None:
        """Bytes have come on a connection that waits for its channel; on main the answer is among them."""
        link.hold(data)
        target = self.target
        if target is None or link.key != MAIN or target.answered is not None:
            return
        target.answered = link.take_answer()
        if target.answered is None:
            return
        if not target.answered:
            target.reason = "the target refused to restore state"
        self._session.note(f"migration.seamless-{'accepted' if target.answered else 'refused'}")
        self._session.command(c.PauseReading(link.id))
        self._link_others(now)
        self._check_ready(now)

    def _link_others(self, now: float) -> None:
        for key in tuple(self._session.channels):
            if key != MAIN and self._session.current(key) is not None:
                self.channel_added(key, now)

    def channel_added(self, key: ChannelKey, now: float) -> None:
        """Link a channel of the session at the target too, when there is one and it has answered."""
        target = self.target
        waiting = (ClientState.LINKING_TARGET, ClientState.READY_SEAMLESS, ClientState.READY_SEMI_SEAMLESS)
        prepared = target is not None and target.answered is not None and self._session.state in waiting
        if target is not None and prepared and key not in target.links:
            target.links[key] = self._session.connect(key, target.address, Role.TARGET, now)

    def target_failed(self, link: Link, error: SpicehopError, now: float) -> None:
        """A connection to the target cannot be used."""
        target = self.target
        if target is None or target.links.get(link.key) is not link:
            return
        del target.links[link.key]
        target.missing[link.key] = str(error)
        if link.linked is not None:
            target.broken.add(link.key)
        if link.key[0] not in ESSENTIAL or link.key in self._moved:
            self._session.note("migration.channel-missing", link.key, reason=str(error))
            self._check_ready(now)
            return
        self._last_error = error
        target.reason = f"the client could not use the target: {error}"
        self._step(ClientInput.TARGET_FAILED, now)

    def _check_ready(self, now: float) -> None:
        target = self.target
        if self._session.state is ClientState.LINKING_TARGET and target is not None and target.ready:
            answer = ClientInput.TARGET_LINKED_SEAMLESS if target.answered else ClientInput.TARGET_LINKED
            self._step(answer, now)

    def _report_seamless(self, now: float) -> None:
        self._deadline = None
        self._session.main.send(main.MigrateConnectedSeamless())
        self._session.note("migration.connected", scheme=SEAMLESS)

    def _report_connected(self, now: float) -> None:
        self._deadline = None
        self._session.main.send(main.MigrateConnected())
        self._session.note("migration.connected", scheme=SEMI_SEAMLESS)

    def _report_error(self, now: float) -> None:
        target = self.target
        self._session.main.send(main.MigrateConnectError())
        self._session.note("migration.connect-error", reason=target.reason if target is not None else "")
        self._close_target_links()

    def _forget_target(self, now: float) -> None:
        reason = self._reason or (self.target.reason if self.target is not None else "")
        lost = self._session.state is ClientState.TARGET_LOST
        if lost:
            self._close_target_links()
            return
        self._drop_target()
        if self._session.inputs is not None:
            self._session.inputs.migration_aborted(now)
        self._settle()
        self._session.note("migration.aborted", reason=reason)
        self._session.emit(c.MigrationAborted(reason))

    def _drop_target(self) -> None:
        self._close_target_links()
        self.target = None
        self._deadline = self._retry_at = None
        self._moved.clear()

    def _close_target_links(self) -> None:
        if self.target is not None:
            for link in tuple(self.target.links.values()):
                if link.role is Role.TARGET:
                    self._session.leave(link)
            self.target.links.clear()
        self._deadline = None

    # -- seamless ---------------------------------------------------------------------------------------------------

    def migrate_received(self, key: ChannelKey, now: float) -> bool:
        """The source hands over a channel; False when it has called that off, so that the channel stays."""
        if key in self._called_off:
            self._called_off.discard(key)
            return False
        if key in self._moved:
            raise ProtocolError(f"{name_of(key)}: MIGRATE came from the target, and the migration to it is not over")
        if not self._session.machine.takes(ClientInput.MIGRATE_RECEIVED):
            raise ProtocolError(f"{name_of(key)}: MIGRATE came, and no migration is under way")
        match self._session.state:
            case ClientState.LINKING_TARGET:
                self._reason = "the source handed its channels over before the client was ready"
            case ClientState.READY_SEMI_SEAMLESS:
                self._reason = "the source handed its channels over, and the target does not restore state"
        self._step(ClientInput.MIGRATE_RECEIVED, now)
        return True

    def _start_switching(self, now: float) -> None:
        self._deadline = now + SWITCHING_DEADLINE
        self._switched = now
        self._left_from = str(self._session.address)
        self._moved.clear()
        for key in tuple(self._session.channels):
            link = self._session.current(key)
            if link is not None and link.linked is not None:
                self._session.command(c.ResumeReading(link.id))  # MIGRATE may be behind what nobody has read yet.
            elif link is not None or self._session.restorer.waits(key):
                reason = "it had no connection to the source when the channels moved"
                self._moved[key] = ChannelOutcome(name_of(key), "lost", 0, reason)
                self._session.lose(key, reason)

    def swap(self, key: ChannelKey, data: bytes | None, now: float) -> None:
        """The channel has nothing more to expect from the source: go on at the target."""
        session, target = self._session, self.target
        if session.state is not ClientState.SWITCHING or target is None:
            return
        link = target.links.get(key)
        if link is None or link.linked is None:
            reason = target.missing.get(key, "the target does not have this channel")
            self._moved[key] = ChannelOutcome(name_of(key), "lost", 0, reason)
            session.lose(key, reason)
            self._check_all_swapped(now)
            return
        before, connection = session.take_over(link), session.channels[key].detach()
        if before is not None and connection is not None:
            before.role = Role.KEPT
            session.command(c.PauseReading(before.id))
            self._left_behind[key] = (before, connection)
        size = len(data) if data is not None else 0
        self._moved[key] = ChannelOutcome(name_of(key), "moved", size)
        events = session.channels[key].swap(link.take_linked(), data, now)
        session.command(c.ResumeReading(link.id))
        session.note("channel.swapped", key, server=str(link.address), size=size)
        session.emit(c.ChannelSwapped(key))
        session.handle_events(key, events, now)
        self._check_all_swapped(now)

    def channel_lost(self, key: ChannelKey, reason: str, now: float) -> None:
        """A channel's connection is gone while channels move."""
        if self._session.state is ClientState.SWITCHING:
            self._moved[key] = ChannelOutcome(name_of(key), "lost", 0, reason)
            self._check_all_swapped(now)

    def _check_all_swapped(self, now: float) -> None:
        waiting = [key for key in self._session.channels if self._session.current(key) and key not in self._moved]
        if self._session.state is ClientState.SWITCHING and not waiting:
            self._step(ClientInput.ALL_SWAPPED, now)

    def _finish_seamless(self, now: float) -> None:
        assert self.target is not None
        self._close_left_behind()
        lost = {key for key, outcome in self._moved.items() if outcome.how == "lost"}
        missing = lost & (set(self.target.links) | self.target.broken)
        self._session.restorer.handed_over(set(self._moved) - lost, missing, now)
        names = ", ".join(map(name_of, sorted(lost)))
        self._finish(SEAMLESS, f"lost on the way: {names}" if lost else "", now)

    def _finish_partly(self, now: float) -> None:
        session = self._session
        for key in tuple(session.channels):
            link = session.current(key)
            if link is not None and key not in self._moved:
                reason = f"the source did not hand it over within {SWITCHING_DEADLINE:.0f} s"
                self._moved[key] = ChannelOutcome(name_of(key), "lost", 0, reason)
                if key != MAIN:
                    session.lose(key, reason)
        if MAIN in self._moved and self._moved[MAIN].how == "lost":
            session.machine.state = ClientState.SWITCHING_HOST
            self._fall_back(now)
            return
        self._finish_seamless(now)

    def _close_left_behind(self) -> None:
        for link, _ in self._left_behind.values():
            self._session.leave(link)
        self._left_behind.clear()

    def _bring_back(self, now: float) -> None:
        """MIGRATE_CANCEL with main still here: the channels that moved come back (dossier F, going back)."""
        session = self._session
        back, self._left_behind = self._left_behind, {}
        lost = {key for key, outcome in self._moved.items() if outcome.how == "lost"}
        self._called_off = {key for key in session.channels if session.current(key) and key not in self._moved}
        for key, (link, _) in back.items():
            there = session.take_over(link) if link.role is Role.KEPT else session.current(key)
            if there is not None:
                session.leave(there)
        self._forget_target(now)
        for key, (link, connection) in back.items():
            if link.role is not Role.CURRENT:
                lost.add(key)
                continue
            session.command(c.ResumeReading(link.id))
            events = session.channels[key].return_to(connection, link.take_held(), now)
            if key in lost:
                lost.discard(key)
                session.emit(c.ChannelOpened(key, anew=False))
            session.handle_events(key, events, now)
        for key in lost:
            session.restorer.later(key, now)
        for key, channel in tuple(session.channels.items()):
            session.handle_events(key, channel.resume(now), now)

    # -- semi-seamless ----------------------------------------------------------------------------------------------

    def _go_to_target(self, now: float) -> None:
        session, target = self._session, self.target
        assert target is not None
        self._deadline = now + INIT_DEADLINE
        self._switched = now
        self._left_from = str(session.address)
        link = target.links[MAIN]
        before = session.take_over(link)
        events = session.main.begin(link.take_linked(), now, (main.MigrateEnd(),))
        if before is not None:
            session.leave(before)
        session.command(c.ResumeReading(link.id))
        session.handle_events(MAIN, events, now)

    def _restart_channels(self, now: float) -> None:
        session, target = self._session, self.target
        assert target is not None
        self._moved[MAIN] = ChannelOutcome(name_of(MAIN), "restarted")
        for key in tuple(session.channels):
            if key == MAIN:
                continue
            before = session.current(key)
            link = target.links.get(key)
            if link is None or link.linked is None:
                if key not in session.lost:
                    reason = target.missing.get(key, "the target does not have this channel")
                    self._moved[key] = ChannelOutcome(name_of(key), "lost", 0, reason)
                    session.lose(key, reason)
                continue
            session.take_over(link)
            if before is not None:
                session.leave(before)
            self._moved[key] = ChannelOutcome(name_of(key), "restarted")
            events = session.channels[key].begin(link.take_linked(), now)
            session.command(c.ResumeReading(link.id))
            session.note("channel.restarted", key, server=str(link.address))
            session.emit(c.ChannelOpened(key, anew=True))
            session.handle_events(key, events, now)
        session.restorer.at_new_server()
        self._finish(SEMI_SEAMLESS, self._reason or target.reason, now)

    # -- switch-host ------------------------------------------------------------------------------------------------

    def _fall_back(self, now: float) -> None:
        target = self.target
        if target is None:
            self._end_session(now)
            return
        reason = self._reason or target.reason or "the hand-over did not complete"
        self._switch_host(target.address, reason, now)

    def _switch_host(self, address: Address, reason: str, now: float) -> None:
        session = self._session
        started = self.target.started if self.target is not None else now
        self._drop_target()
        self._left_behind.clear()
        self._called_off.clear()
        self._postponed = None
        self._left_from = str(session.address)
        self._note_address("migration.switch-host", address, reason=reason)
        session.leave_all()
        self.target = Target(address, False, 0, started, reason=reason)
        self._switched = now
        self._deadline = now + SWITCH_HOST_DEADLINE
        session.begin_anew()
        session.connect(MAIN, address, Role.CURRENT, now)

    def _try_again(self, now: float) -> None:
        refused = isinstance(self._last_error, LinkError) and self._last_error.code == LinkResult.PERMISSION_DENIED
        if refused:
            self._session.machine.state = ClientState.ENDED
            self._end_session(now)
            return
        self._retry_at = now + SWITCH_HOST_PAUSE

    def _finish_switch_host(self, now: float) -> None:
        assert self.target is not None
        self._session.attach_channels(now)
        self._session.restorer.at_new_server()
        for key in self._session.channels:
            if key not in self._session.lost:
                self._moved[key] = ChannelOutcome(name_of(key), "restarted")
        self._finish(SWITCH_HOST, self.target.reason, now)

    # -- ends -------------------------------------------------------------------------------------------------------

    def init_received(self, now: float) -> None:
        """The main channel has begun anew."""
        self._step(ClientInput.INIT_RECEIVED, now)

    def main_lost(self, link: Link, error: SpicehopError, now: float) -> None:
        """The main channel's connection is gone."""
        self._last_error = error
        target = self.target
        linked_there = target is not None and target.links.get(MAIN) is link
        at_target = linked_there or self._session.state is ClientState.SWITCHING_HOST
        happened = ClientInput.TARGET_FAILED if at_target else ClientInput.SOURCE_LOST
        if not self._reason and self.target is not None:
            self._reason = f"the {'target' if at_target else 'source'} was lost: {error}"
        self._step(happened, now)

    def _end_session(self, now: float) -> None:
        error = self._last_error or ConnectionLost("the session ended")
        if self.target is not None and self._switched:
            sentence = f"the session was lost: {self.target.address} cannot be used ({error})"
            error = ConnectError(sentence) if isinstance(error, ConnectError) else ConnectionLost(sentence)
        self._session.end(error)

    def _finish(self, scheme: str, reason: str, now: float) -> None:
        session, target = self._session, self.target
        assert target is not None
        session.generation += 1
        session.address = target.address
        outcome = c.MigrationOutcome(
            scheme=scheme,
            reason=reason,
            source=self._left_from,
            target=str(target.address),
            generation=session.generation,
            started=target.started,
            switched=self._switched,
            finished=now,
            channels=tuple(self._moved[key] for key in sorted(self._moved)),
        )
        self._close_target_links()
        session.note("migration.done", scheme=scheme, reason=reason, target=str(target.address))
        session.emit(c.MigrationFinished(outcome))
        self._settle()
        if self._postponed is not None:
            message, self._postponed = self._postponed, None
            self.message_received(message, now)

    def _settle(self) -> None:
        self.target = None
        self._deadline = self._retry_at = None
        self._reason = ""
        self._switched = 0.0
        self._moved.clear()
        self._last_error = None
        self._expect_stop(None)

    def _expect_stop(self, since: float | None) -> None:
        """The machine may stand still from `since` on; None: there is nothing to wait for."""
        for channel in self._session.channels.values():
            if isinstance(channel, VmcChannel):
                channel.migrating = since is not None
        inputs = self._session.inputs
        if inputs is not None and (since is not None or inputs.connected):
            inputs.migrating_since = since  # After a switch-host inputs begins later, and forgets it then.

    def _note_address(self, event: str, address: Address, **detail: str) -> None:
        self._session.note(event, None, host=address.host, port=address.port, tls_port=address.tls_port, **detail)

    def _nothing(self, now: float) -> None:
        pass

    # -- time -------------------------------------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """When `handle_timer` is due."""
        if self._deadline is None or self._retry_at is None:
            return self._retry_at if self._deadline is None else self._deadline
        return min(self._deadline, self._retry_at)

    def handle_timer(self, now: float) -> None:
        """Do what is due."""
        if self._retry_at is not None and now >= self._retry_at:
            self._retry_at = None
            if self.target is not None:
                self._session.connect(MAIN, self.target.address, Role.CURRENT, now)
        if self._deadline is not None and now >= self._deadline:
            self._deadline = None
            self._explain_deadline()
            self._step(ClientInput.DEADLINE_PASSED, now)

    def _explain_deadline(self) -> None:
        assert self.target is not None
        match self._session.state:
            case ClientState.LINKING_TARGET:
                self.target.reason = f"the target was not linked within {LINKING_DEADLINE:.0f} s"
            case ClientState.AWAITING_TARGET_INIT:
                self._reason = f"the target did not open the session within {INIT_DEADLINE:.0f} s"
            case ClientState.SWITCHING_HOST if self._last_error is None:
                self._last_error = ConnectError(f"it did not open the session within {SWITCH_HOST_DEADLINE:.0f} s")
            case _:
                pass
