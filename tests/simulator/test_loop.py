"""What is written for asyncio runs on the virtual clock: timers, tasks, servers and connections, until it is killed."""

from __future__ import annotations

import asyncio
from random import Random

from spicehop.simulator.clock import VirtualClock
from spicehop.simulator.loop import ProcessLoop
from spicehop.simulator.network import Network


def processes() -> tuple[VirtualClock, ProcessLoop, ProcessLoop]:
    clock = VirtualClock()
    network = Network(clock, Random(1))
    return clock, ProcessLoop("here", network), ProcessLoop("there", network)


def run_out(clock: VirtualClock) -> None:
    while clock.step():
        pass


class Noting(asyncio.Protocol):
    """Notes what it is told, and sends everything back in capitals when it is to answer."""

    def __init__(self, *, answers: bool = False) -> None:
        self.told: list[object] = []
        self.transport: asyncio.Transport | None = None
        self._answers = answers

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.told.append(data)
        if self._answers and self.transport is not None:
            self.transport.write(data.upper())

    def connection_lost(self, exc: Exception | None) -> None:
        self.told.append(exc)


def test_a_task_sleeps_without_time_passing_outside() -> None:
    clock, here, _ = processes()
    begun = clock.now
    ended: list[float] = []

    async def sleep() -> None:
        await asyncio.sleep(3600)
        async with asyncio.timeout(5):
            await asyncio.sleep(1)
        ended.append(asyncio.get_running_loop().time())

    here.run(sleep(), lambda task: None)
    run_out(clock)
    assert ended == [begun + 3601]


def test_two_processes_talk() -> None:
    clock, here, there = processes()
    server, client = Noting(answers=True), Noting()

    async def serve() -> None:
        await there.create_server(lambda: server, "127.0.0.1", 5900)

    async def talk() -> None:
        transport, _ = await here.create_connection(lambda: client, "127.0.0.1", 5900)
        transport.write(b"hello")
        await asyncio.sleep(1)
        transport.close()

    there.run(serve(), lambda task: None)
    here.run(talk(), lambda task: task.result())
    run_out(clock)
    assert b"".join(part for part in client.told if isinstance(part, bytes)) == b"HELLO"
    assert server.told[-1] is None
    assert client.told[-1] is None


def test_what_is_killed_does_nothing_more_and_its_peers_see_a_reset() -> None:
    clock, here, there = processes()
    server, client = Noting(), Noting()
    done: list[str] = []

    async def serve() -> None:
        await there.create_server(lambda: server, "127.0.0.1", 5900)
        await asyncio.sleep(2)
        done.append("lived on")

    async def talk() -> None:
        await here.create_connection(lambda: client, "127.0.0.1", 5900)

    there.run(serve(), lambda task: None)
    here.run(talk(), lambda task: task.result())
    clock.after(1, there.kill)
    run_out(clock)
    assert isinstance(client.told[-1], ConnectionResetError)
    assert done == []


def test_nobody_answers_and_what_fails_is_noted() -> None:
    clock, here, _ = processes()
    failures: list[BaseException | None] = []

    async def talk() -> None:
        await here.create_connection(Noting, "127.0.0.1", 5900)

    here.run(talk(), lambda task: failures.append(task.exception()))
    here.call_soon(lambda: 1 // 0)
    run_out(clock)
    assert isinstance(failures[0], ConnectionRefusedError)
    assert "ZeroDivisionError" in here.faults[0]
