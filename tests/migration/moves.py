"""What the tests of a client session do again and again: open one, prepare a migration, hand channels over."""

from __future__ import annotations

from scripted_server import CHANNELS, Server, Stage, key_of

from spicehop.channels.vmc import VmcChannel
from spicehop.migration.client import ClientState
from spicehop.wire import base, display, inputs, main, vmc
from spicehop.wire.layout import Message

NONE = 65535
ALL = ("main:0", *CHANNELS)
OTHERS = ("inputs:0", "cursor:0", "port:1")
"""The channels in the order in which a source hands them over here, between display and main."""


def begin(host: bytes = b"target", *, port: int = 1, tls_port: int = NONE, seamless: bool = True) -> Message:
    if seamless:
        return main.MigrateBeginSeamless(port, tls_port, host, b"", 1)
    return main.MigrateBegin(port, tls_port, host)


def opened(**options: object) -> tuple[Stage, Server, Server]:
    stage = Stage(**options)
    source, target = stage.server("source"), stage.server("target")
    stage.open(source)
    return stage, source, target


def ready(*, seamless: bool = True, **options: object) -> tuple[Stage, Server, Server]:
    """A session that has told the source that it is connected to the target."""
    stage, source, target = opened(**options)
    prepare(stage, source, target, seamless=seamless)
    return stage, source, target


def prepare(stage: Stage, source: Server, target: Server, *, seamless: bool = True) -> None:
    source.say("main:0", begin(target.name.encode(), seamless=seamless))
    if seamless:
        assert target.heard_names("main:0") == ["MIGRATE_DST_DO_SEAMLESS"]
        target.say("main:0", main.MigrateDstSeamlessAck())
    said = "MIGRATE_CONNECTED_SEAMLESS" if seamless else "MIGRATE_CONNECTED"
    assert source.heard_names("main:0") == [said]
    assert stage.session.state in (ClientState.READY_SEAMLESS, ClientState.READY_SEMI_SEAMLESS)


def hand_over(source: Server, *names: str, flags: int = 3) -> None:
    for name in names:
        source.say(name, base.Migrate(flags))
        if flags & 2:
            source.say(name, base.MigrateData(b"state of " + name.encode()))


def restored(target: Server) -> None:
    """The target shows that it has everything."""
    target.say("main:0", main.MultiMediaTime(1))
    target.say("display:0", display.Mark())
    target.say("inputs:0", inputs.KeyModifiers(0))
    target.say("port:1", vmc.VmcData(b"."))


def port_of(stage: Stage) -> VmcChannel:
    channel = stage.session.channels[key_of("port:1")]
    assert isinstance(channel, VmcChannel)
    return channel


def port_bytes(server: Server) -> bytes:
    return b"".join(bytes(one.data) for one in server.heard("port:1") if isinstance(one, vmc.VmcData))
