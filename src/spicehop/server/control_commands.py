"""What each command of the control socket does, and which arguments it takes.

The wording of errors is QEMU's 7.2, as measured. Where QEMU takes nonsense and does something with it, this refuses.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from spicehop import __version__
from spicehop.errors import OperationError, UsageError
from spicehop.server.control import NEGOTIATION, CommandError, ControlRequest, ControlVersion
from spicehop.server.control_arguments import Argument, Arguments, check_arguments
from spicehop.server.control_direct_link import DIRECT_LINK_COMMANDS, DirectLinkControl
from spicehop.server.control_direct_link import Function as DirectLinkFunction
from spicehop.server.control_keys import HIGHEST, KEYS
from spicehop.server.control_migration import MIGRATION_COMMANDS, MigrationControl
from spicehop.server.control_migration import Function as MigrationFunction
from spicehop.server.control_picture import FORMATS, save_picture
from spicehop.server.control_target import ControlTarget

VERSION = ControlVersion(7, 2, 0, f"spicehop {__version__}")
"""Tools compare the version to know what they may ask; these commands are those of QEMU 7.2."""
DISPLAY_DEVICE = "display"
"""What screendump's `device` may be; `head` is the display's number."""
HOLD_MILLISECONDS = 100
MAX_HOLD_MILLISECONDS = 10_000
MAX_KEYS = 64
MAX_SECONDS = 1 << 40


class Surroundings(Protocol):
    """Time and the keyboard, as the socket's loop has them."""

    def wall_clock(self) -> float:
        """Seconds since 1970."""

    def press(self, numbers: list[int], hold: float) -> None:
        """Press keys together, `hold` seconds between two of them, and release them again."""


class Commands:
    """Performs requests on one server, for any number of connections."""

    def __init__(self, target: ControlTarget, surroundings: Surroundings) -> None:
        self._target = target
        self._surroundings = surroundings

    async def perform(self, request: ControlRequest) -> object:
        """Do it and return what to answer; raises `CommandError`."""
        row = COMMANDS.get(request.command)
        if row is None:
            raise CommandError(f"The command {request.command[:100]} has not been found", "CommandNotFound")
        check_arguments(row.arguments, request.arguments)
        try:
            return await row.function(self, request.arguments)
        except CommandError:
            raise
        except (OperationError, UsageError) as error:
            raise CommandError(str(error)) from None

    @property
    def migration(self) -> MigrationControl:
        """For the commands that move the guest."""
        return self._target.migration

    @property
    def direct_link(self) -> DirectLinkControl:
        """For the commands that connect two servers."""
        return self._target.direct_link

    # -- questions --------------------------------------------------------------------------------------------------

    async def _version(self, arguments: Arguments) -> object:
        return VERSION.as_json()

    async def _commands(self, arguments: Arguments) -> object:
        return [{"name": name} for name in (NEGOTIATION, *COMMANDS)]

    async def _status(self, arguments: Arguments) -> object:
        status = self._target.status
        return {"status": status, "singlestep": False, "running": status == "running"}

    async def _name(self, arguments: Arguments) -> object:
        return {"name": self._target.name} if self._target.name else {}

    async def _spice(self, arguments: Arguments) -> object:
        return self._target.spice().as_json()

    # -- passwords --------------------------------------------------------------------------------------------------

    async def _set_password(self, arguments: Arguments) -> object:
        _spice_only(arguments, "Could not set password")
        connected = arguments.get("connected", "keep")
        if connected == "fail" and self._target.spice().channels:
            raise CommandError("Could not set password")
        self._target.change_password(str(arguments["password"]))
        if connected == "disconnect":
            self._target.disconnect_clients("the password was changed")
        return {}

    async def _expire_password(self, arguments: Arguments) -> object:
        _spice_only(arguments, "Could not set password expire time")
        self._target.expire_password(expiry(str(arguments["time"]), self._surroundings.wall_clock()))
        return {}

    # -- the guest --------------------------------------------------------------------------------------------------

    async def _stop(self, arguments: Arguments) -> object:
        self._target.stop()
        return {}

    async def _cont(self, arguments: Arguments) -> object:
        self._target.resume()
        return {}

    async def _quit(self, arguments: Arguments) -> object:
        self._target.quit("host-qmp-quit")
        return {}

    async def _screendump(self, arguments: Arguments) -> object:
        display = 0
        if "device" in arguments:
            if arguments["device"] != DISPLAY_DEVICE:
                raise CommandError(f"Device '{str(arguments['device'])[:100]}' not found", "DeviceNotFound")
            display = _whole(arguments.get("head", 0))
        elif "head" in arguments:
            raise CommandError("'head' must be specified together with 'device'")
        if not 0 <= display < self._target.displays:
            raise CommandError(f"Device '{DISPLAY_DEVICE}' head {display} not found")
        kind = str(arguments.get("format", "ppm"))
        pixels = self._target.picture(display)
        await asyncio.to_thread(save_picture, pixels, Path(str(arguments["filename"])), kind)
        return {}

    async def _send_key(self, arguments: Arguments) -> object:
        keys = arguments["keys"]
        assert isinstance(keys, list)
        if len(keys) > MAX_KEYS:
            raise CommandError(f"Parameter 'keys' has more than {MAX_KEYS} keys")
        numbers = [_key_number(key, place) for place, key in enumerate(keys)]
        hold = _whole(arguments.get("hold-time", HOLD_MILLISECONDS))
        if not 0 <= hold <= MAX_HOLD_MILLISECONDS:
            raise CommandError(f"Parameter 'hold-time' expects 0 to {MAX_HOLD_MILLISECONDS}")
        self._surroundings.press(numbers, hold / 1000)
        return {}


@dataclass(frozen=True, slots=True)
class Command:
    """One row of the table."""

    function: Callable[[Commands, Arguments], Awaitable[object]]
    arguments: tuple[Argument, ...] = ()


_PROTOCOL = Argument("protocol", choices=("vnc", "spice"))

COMMANDS: dict[str, Command] = {
    "query-version": Command(Commands._version),
    "query-commands": Command(Commands._commands),
    "query-status": Command(Commands._status),
    "query-name": Command(Commands._name),
    "query-spice": Command(Commands._spice),
    "set_password": Command(
        Commands._set_password,
        (
            _PROTOCOL,
            Argument("password"),
            Argument("connected", optional=True, choices=("fail", "disconnect", "keep")),
        ),
    ),
    "expire_password": Command(Commands._expire_password, (_PROTOCOL, Argument("time"))),
    "stop": Command(Commands._stop),
    "cont": Command(Commands._cont),
    "quit": Command(Commands._quit),
    "screendump": Command(
        Commands._screendump,
        (
            Argument("filename"),
            Argument("device", optional=True),
            Argument("head", "integer", optional=True),
            Argument("format", optional=True, choices=FORMATS),
        ),
    ),
    "send-key": Command(
        Commands._send_key, (Argument("keys", "array"), Argument("hold-time", "integer", optional=True))
    ),
}
"""Every command but the negotiation."""


def _of_migration(function: MigrationFunction) -> Callable[[Commands, Arguments], Awaitable[object]]:
    return lambda commands, arguments: function(commands.migration, arguments)


COMMANDS.update(
    {name: Command(_of_migration(function), wanted) for name, (function, wanted) in MIGRATION_COMMANDS.items()}
)


def _of_direct_link(function: DirectLinkFunction) -> Callable[[Commands, Arguments], Awaitable[object]]:
    return lambda commands, arguments: function(commands.direct_link, arguments)


COMMANDS.update(
    {name: Command(_of_direct_link(function), wanted) for name, (function, wanted) in DIRECT_LINK_COMMANDS.items()}
)


def expiry(text: str, now: float) -> float | None:
    """What expire_password's `time` means, in seconds since 1970: `now`, `never`, `+N` or `N`; None for never.

    QEMU reads whatever else as far as it is a number; here it is an error.
    """
    if text == "now":
        return now
    if text == "never":
        return None
    found = re.fullmatch(r"(\+?)([0-9]{1,13})", text)
    if found is None or int(found[2]) > MAX_SECONDS:
        raise CommandError("Parameter 'time' expects now, never, +SECONDS or SECONDS")
    return (now if found[1] else 0.0) + int(found[2])


def _spice_only(arguments: Arguments, refusal: str) -> None:
    if arguments["protocol"] != "spice":
        raise CommandError(refusal)


def _whole(value: object) -> int:
    assert isinstance(value, int)
    return value


_KEY = (Argument("type", choices=("number", "qcode")),)
_KEY_KINDS = {"number": Argument("data", "integer"), "qcode": Argument("data", choices=tuple(KEYS))}


def _key_number(key: object, place: int) -> int:
    """The number of one of send-key's keys; one that is no key presses nothing, as with QEMU."""
    path = f"keys[{place}]"
    if not isinstance(key, dict):
        raise CommandError(f"Invalid parameter type for '{path}', expected: object")
    check_arguments(_KEY, {"type": key["type"]} if "type" in key else {}, f"{path}.")
    check_arguments((*_KEY, _KEY_KINDS[key["type"]]), key, f"{path}.")
    data = key["data"]
    if key["type"] == "qcode":
        return KEYS[data]
    return data if 0 < data <= HIGHEST else 0
