"""An asyncio event loop on the virtual clock, with connections of the model network: a process without sockets.

What is written for asyncio runs here unchanged, step by step and the same each time. Each simulated process has a loop
of its own; when the process is killed nothing of it is called any more.
"""

from __future__ import annotations

import asyncio
import inspect
import socket
from asyncio import events
from collections.abc import Callable, Coroutine
from contextvars import Context
from functools import partial
from typing import Any, cast
from weakref import WeakSet

from spicehop.simulator.clock import Appointment, VirtualClock
from spicehop.simulator.network import End, Network

HIGH_WATER = 64 * 1024

_running_loop, _run_in = events._get_running_loop, events._set_running_loop

ProtocolFactory = Callable[[], asyncio.BaseProtocol]


class ProcessLoop(asyncio.AbstractEventLoop):
    """The loop of one process called `name`. What its code raises and nobody catches is in `faults`."""

    def __init__(self, name: str, network: Network) -> None:
        self.name = name
        self.network = network
        self.alive = True
        self.faults: list[str] = []
        """What went wrong in this process without being handled, in sentences."""
        self.on_fault: Callable[[], None] = lambda: None
        self.tasks: WeakSet[asyncio.Task[Any]] = WeakSet()
        """Its tasks that somebody still holds, those at an end among them."""
        self._clock: VirtualClock = network.clock
        self._timers: dict[_Timer, Appointment] = {}
        self._transports: dict[EndTransport, None] = {}
        self._addresses: list[tuple[str, int]] = []
        self._tasks: set[asyncio.Task[Any]] = set()

    def kill(self) -> None:
        """The process is gone: its connections are reset, its addresses answer nobody, nothing of it runs."""
        if not self.alive:
            return
        self.alive = False
        for address in self._addresses:
            self.network.stop_listening(address)
        for transport in tuple(self._transports):
            end = transport.end
            end.connection.reset(f"reset by the {end.name}", by=end)
        for appointment in self._timers.values():
            appointment.cancel()
        self._timers.clear()
        for task in self._tasks:
            work = task.get_coro()
            if inspect.iscoroutine(work) and inspect.getcoroutinestate(work) == inspect.CORO_CREATED:
                work.close()  # it had not begun

    def run(self, coroutine: Coroutine[Any, Any, Any], done: Callable[[asyncio.Task[Any]], None]) -> None:
        """Start a coroutine from outside; `done` gets its task when it has ended."""
        if not self.alive:
            coroutine.close()
            return
        task = self.create_task(coroutine)
        self._tasks.add(task)

        def ended(task: asyncio.Task[Any]) -> None:
            self._tasks.discard(task)
            done(task)

        task.add_done_callback(ended)

    def call(self, action: Callable[[], object]) -> None:
        """Do something in this process now."""
        if self.alive:
            before = _running_loop()
            _run_in(self)
            try:
                action()
            finally:
                _run_in(before)

    # -- time -------------------------------------------------------------------------------------------------------

    def time(self) -> float:
        return self._clock.now

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        if self.alive:
            self._clock.at(self._clock.now, partial(self._run_handle, handle))
        return handle

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._clock.now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = _Timer(when, callback, args, self, context)
        if self.alive:
            self._timers[handle] = self._clock.at(when, partial(self._run_timer, handle))
        return handle

    def _timer_handle_cancelled(self, handle: _Timer) -> None:
        appointment = self._timers.pop(handle, None)
        if appointment is not None:
            appointment.cancel()

    def _run_timer(self, handle: _Timer) -> None:
        self._timers.pop(handle, None)
        self._run_handle(handle)

    def _run_handle(self, handle: asyncio.Handle) -> None:
        if self.alive and not handle._cancelled:
            before = _running_loop()
            _run_in(self)
            try:
                handle._run()
            finally:
                _run_in(before)

    # -- tasks ------------------------------------------------------------------------------------------------------

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: str | None = None, context: Context | None = None) -> asyncio.Task[Any]:
        task = asyncio.Task(coro, loop=self, name=name, context=context)
        self.tasks.add(task)
        return task

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """At once: a simulation has no other threads."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        where = ""
        if isinstance(error, BaseException):
            trace = error.__traceback__
            while trace is not None and trace.tb_next is not None:
                trace = trace.tb_next
            if trace is not None:
                code = trace.tb_frame.f_code
                where = f" in {code.co_filename.rpartition('/')[2]}:{trace.tb_lineno} {code.co_name}"
        self.faults.append(f"{context.get('message')}: {type(error).__name__}: {error}{where}")
        self.on_fault()

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return not self.alive

    # -- connections ------------------------------------------------------------------------------------------------

    async def create_server(  # type: ignore[override]
        self, protocol_factory: ProtocolFactory, host: str | None = None, port: int = 0, **options: object
    ) -> DoorServer:
        """Listen. Options for TLS and sockets have no meaning here."""
        address = (host or "127.0.0.1", port or self.network.free_port())
        self._listen(address, lambda end: self._accept(end, protocol_factory()))
        return DoorServer(self, address)

    async def create_connection(  # type: ignore[override]
        self, protocol_factory: ProtocolFactory, host: str, port: int, **options: object
    ) -> tuple[EndTransport, asyncio.BaseProtocol]:
        """Connect; raises `ConnectionRefusedError`."""
        end = await self._connected((host, port))
        protocol = protocol_factory()
        return self._accept(end, protocol, at_once=True), protocol

    async def create_unix_connection(  # type: ignore[override]
        self, protocol_factory: ProtocolFactory, path: str, **options: object
    ) -> tuple[EndTransport, asyncio.BaseProtocol]:
        """As `create_connection`, to what listens with `listen_at`."""
        return await self.create_connection(protocol_factory, path, 0)

    async def connect_accepted_socket(  # type: ignore[override]
        self, protocol_factory: ProtocolFactory, sock: Any, **options: object
    ) -> tuple[EndTransport, asyncio.BaseProtocol]:
        """`sock` is the end that a door of `listen_at` was given."""
        protocol = protocol_factory()
        return self._accept(cast(End, sock), protocol, at_once=True), protocol

    def listen_at(self, path: str, accept: Callable[[End], object]) -> None:
        """Hand the ends of connections to `path` to `accept`."""
        self._listen((path, 0), accept)

    def _listen(self, address: tuple[str, int], accept: Callable[[End], object]) -> None:
        def come(end: End) -> None:
            self.call(lambda: accept(end))

        self.network.listen(address, self.name, come)
        self._addresses.append(address)

    async def _connected(self, address: tuple[str, int]) -> End:
        future: asyncio.Future[End] = self.create_future()

        def made(end: End) -> None:
            if not self.alive or future.done():
                end.close()
            else:
                future.set_result(end)

        def failed(reason: str) -> None:
            if not future.done():
                future.set_exception(ConnectionRefusedError(111, reason))

        self.network.connect(self.name, address, made, failed)
        return await future

    def _accept(self, end: End, protocol: asyncio.BaseProtocol, *, at_once: bool = False) -> EndTransport:
        transport = EndTransport(self, end, cast(asyncio.Protocol, protocol))
        self._transports[transport] = None
        if at_once:
            protocol.connection_made(transport)
        else:
            self.call_soon(protocol.connection_made, transport)
        if end.closed:  # before anybody had taken it
            self.call_soon(transport.connection_lost, end, end.reason)
        return transport

    def forget(self, transport: EndTransport) -> None:
        """For a transport: its connection is over."""
        self._transports.pop(transport, None)

    def close_door(self, address: tuple[str, int]) -> None:
        """For a server: nobody answers there any more."""
        if address in self._addresses:
            self._addresses.remove(address)
            self.network.stop_listening(address)


class _Timer(asyncio.TimerHandle):
    """One like no other: the base class takes timers for the same that are due together and call the same."""

    __slots__ = ()
    __hash__ = object.__hash__
    __eq__ = object.__eq__


class DoorServer:
    """What stands for an `asyncio.Server`, and for its one socket."""

    family = socket.AF_INET

    def __init__(self, loop: ProcessLoop, address: tuple[str, int]) -> None:
        self._loop = loop
        self._address = address

    @property
    def sockets(self) -> tuple[DoorServer, ...]:
        """Itself."""
        return (self,)

    def getsockname(self) -> tuple[str, int]:
        """Host and port."""
        return self._address

    def close(self) -> None:
        """Answer nobody any more."""
        self._loop.close_door(self._address)


class EndTransport(asyncio.Transport):
    """A transport on one end of a model connection."""

    def __init__(self, loop: ProcessLoop, end: End, protocol: asyncio.Protocol) -> None:
        super().__init__({"sockname": (loop.name, 1), "peername": ("127.0.0.1", end.connection.number)})
        self.end = end
        self._loop = loop
        self._protocol = protocol
        self._closing = False
        self._paused = False
        self._over = False
        self._high = HIGH_WATER
        end.owner = self
        end.on_writable = self._writable

    # -- for the protocol -------------------------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing:
            return
        self.end.send(bytes(data))
        if not self._paused and not self._over and not self.end.writable:
            self._paused = True
            self._loop.call(self._protocol.pause_writing)

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def get_write_buffer_size(self) -> int:
        return self.end.unsent

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """The window decides."""

    def pause_reading(self) -> None:
        self.end.pause()

    def resume_reading(self) -> None:
        if not self.end.reading:
            self.end.resume()

    def is_reading(self) -> bool:
        return self.end.reading

    def is_closing(self) -> bool:
        return self._closing

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.end.finish()

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self.end.close()
            self._end(None)

    def abort(self) -> None:
        if not self._over:
            self._closing = True
            if not self.end.closed:
                self.end.connection.reset(f"reset by the {self.end.name}", by=self.end)
            self._end(None)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    # -- for the end ------------------------------------------------------------------------------------------------

    def data_received(self, end: End, data: bytes) -> None:
        """Bytes have come."""
        if not self._over and not self._closing:
            self._loop.call(partial(self._guarded, self._protocol.data_received, data))

    def connection_lost(self, end: End, reason: str) -> None:
        """The peer has closed, or the connection is gone."""
        if self._over:
            return
        self._closing = True
        if reason.startswith("closed"):
            self._loop.call(partial(self._guarded, self._protocol.eof_received))
            self._end(None)
        elif reason.startswith("reset") or reason.endswith("is gone"):
            self._end(ConnectionResetError(104, "Connection reset by peer"))
        else:
            self._end(TimeoutError(110, "Connection timed out"))

    def _guarded(self, action: Callable[..., object], *args: object) -> None:
        """As asyncio's own transports do: what a protocol raises ends its connection."""
        try:
            action(*args)
        except Exception as error:
            self._loop.call_exception_handler({"message": "Fatal error: a protocol failed", "exception": error})
            self.abort()

    def _writable(self) -> None:
        if self._paused and not self._over:
            self._paused = False
            self._loop.call(self._protocol.resume_writing)

    def _end(self, error: Exception | None) -> None:
        if self._over:
            return
        self._over = True
        self._loop.forget(self)
        self._loop.call_soon(self._protocol.connection_lost, error)
