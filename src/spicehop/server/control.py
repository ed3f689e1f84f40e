"""One connection of the control socket, without I/O: QMP's wire format, so that tools which drive QEMU drive this.

Bytes in, requests out: the caller performs each request in turn and hands back a value or a refusal, which becomes the
bytes to write. What is wrong with a request's form is answered here, and no bytes end anything but their own line.
Facts of form and wording were measured on QEMU 7.2 (dossier C7). Differences: out-of-band commands are not offered, and
after something that is no JSON the rest of its line is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from spicehop.channels.machine import Machine
from spicehop.errors import OperationError
from spicehop.server.control_stream import MAX_VALUE_BYTES, JsonFault, JsonSplitter, JsonValue, encode

NEGOTIATION = "qmp_capabilities"
MAX_ID_BYTES = 4096
"""Longest `id` that is echoed."""
OUT_AT_ONCE = 64 * 1024
"""Answers that are made before somebody writes them."""

class ControlState(Enum):
    """What the session takes."""

    AWAITING_CAPABILITIES = "AwaitingCapabilities"
    TAKING_COMMANDS = "TakingCommands"


class ControlInput(Enum):
    """What happened."""

    CAPABILITIES_RECEIVED = "capabilities negotiated"
    COMMAND_RECEIVED = "command received"


class ControlAction(Enum):
    """What the session does."""

    BEGIN = "confirm, and tell events from now on"
    QUEUE = "hand the command to the caller"


CONTROL_TABLE = {
    (ControlState.AWAITING_CAPABILITIES, ControlInput.CAPABILITIES_RECEIVED): (
        ControlAction.BEGIN,
        ControlState.TAKING_COMMANDS,
    ),
    (ControlState.TAKING_COMMANDS, ControlInput.COMMAND_RECEIVED): (
        ControlAction.QUEUE,
        ControlState.TAKING_COMMANDS,
    ),
}
"""What is absent is answered with an error of the class CommandNotFound, as QEMU does."""


class CommandError(OperationError):
    """A command is refused; `kind` is QMP's error class."""

    def __init__(self, message: str, kind: str = "GenericError") -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class ControlRequest:
    """A command to perform: answer it with `ControlSession.answer` or `refuse`."""

    command: str
    arguments: Mapping[str, object]
    tag: Mapping[str, object]
    """`{"id": ...}` when the client gave one."""


@dataclass(frozen=True, slots=True)
class ControlVersion:
    """What the greeting and query-version say."""

    major: int
    minor: int
    micro: int
    package: str

    def as_json(self) -> dict[str, object]:
        """In QMP's form."""
        return {"qemu": {"micro": self.micro, "minor": self.minor, "major": self.major}, "package": self.package}


class ControlSession:
    """Reads one client's commands and writes answers and events. `drain` gives the bytes that are to be written."""

    def __init__(self, version: ControlVersion, limit: int = MAX_VALUE_BYTES) -> None:
        self._machine = Machine("control", CONTROL_TABLE, ControlState.AWAITING_CAPABILITIES)
        self._splitter = JsonSplitter(limit)
        self._out = bytearray(encode({"QMP": {"version": version.as_json(), "capabilities": []}}))

    @property
    def state(self) -> ControlState:
        """Where the session stands."""
        return self._machine.state

    def drain(self) -> bytes:
        """Bytes to write now."""
        taken = bytes(self._out)
        self._out.clear()
        return taken

    def feed(self, data: bytes) -> None:
        """Take bytes from the client; then `next_request` and `drain` while `waiting`."""
        self._splitter.feed(data)

    @property
    def waiting(self) -> bool:
        """Whether there are bytes of the client that nobody has looked at."""
        return self._splitter.waiting

    def next_request(self) -> ControlRequest | None:
        """The next request; answers that need no caller are made on the way.

        None when more bytes are needed, or when there is so much to write that it should be written first.
        """
        while len(self._out) < OUT_AT_ONCE and (found := self._splitter.next_value()) is not None:
            request = self._request(found)
            if request is not None and not self._negotiated(request):
                return request
        return None

    def answer(self, request: ControlRequest, value: object) -> None:
        """The command succeeded; `value` is JSON."""
        self._out += encode({"return": value, **request.tag})

    def refuse(self, request: ControlRequest, error: CommandError) -> None:
        """The command failed."""
        self._out += encode(_error(str(error), error.kind, request.tag))

    def tell(self, event: str, data: Mapping[str, object] | None, when: float) -> None:
        """Something happened at `when`, seconds since 1970; a client that has not negotiated is not told."""
        if self.state is not ControlState.TAKING_COMMANDS:
            return
        micros = round(when * 1_000_000)
        message: dict[str, object] = {
            "timestamp": {"seconds": micros // 1_000_000, "microseconds": micros % 1_000_000},
            "event": event,
        }
        if data is not None:
            message["data"] = data
        self._out += encode(message)

    def _request(self, found: JsonValue | JsonFault) -> ControlRequest | None:
        """The request in what has come; None when that is none, and was answered."""
        tag: dict[str, object] = {}
        try:
            if isinstance(found, JsonFault):
                raise CommandError(found.reason)
            if not isinstance(found.value, dict):
                raise CommandError("QMP input must be a JSON object")
            tag = _tag(found.value)
            return _read_request(found.value, tag)
        except CommandError as error:
            self._out += encode(_error(str(error), error.kind, tag))
            return None

    def _negotiated(self, request: ControlRequest) -> bool:
        """Whether the request concerned the negotiation, and was answered."""
        negotiates = request.command == NEGOTIATION
        happened = ControlInput.CAPABILITIES_RECEIVED if negotiates else ControlInput.COMMAND_RECEIVED
        try:
            if not self._machine.takes(happened):
                reason = (
                    "Capabilities negotiation is already complete, command ignored"
                    if negotiates
                    else "Expecting capabilities negotiation with 'qmp_capabilities'"
                )
                raise CommandError(reason, "CommandNotFound")
            if negotiates:
                _check_capabilities(request.arguments)
        except CommandError as error:
            self.refuse(request, error)
            return True
        if self._machine.step(happened) is ControlAction.QUEUE:
            return False
        self.answer(request, {})
        return True


def _read_request(value: Mapping[str, object], tag: Mapping[str, object]) -> ControlRequest:
    command: str | None = None
    arguments: Mapping[str, object] = {}
    for member, content in value.items():
        if member == "execute":
            if not isinstance(content, str):
                raise CommandError("QMP input member 'execute' must be a string")
            command = content
        elif member == "arguments":
            if not isinstance(content, dict):
                raise CommandError("QMP input member 'arguments' must be an object")
            arguments = content
        elif member != "id":
            raise CommandError(f"QMP input member '{member[:100]}' is unexpected")
    if command is None:
        raise CommandError("QMP input lacks member 'execute'")
    return ControlRequest(command, arguments, tag)


def _tag(value: Mapping[str, object]) -> dict[str, object]:
    """The client's id, to be echoed."""
    if "id" not in value:
        return {}
    if len(encode(value["id"])) > MAX_ID_BYTES:
        raise CommandError("QMP input member 'id' is too long")
    return {"id": value["id"]}


def _check_capabilities(arguments: Mapping[str, object]) -> None:
    """Nothing can be enabled, for nothing is offered."""
    for name in arguments:
        if name != "enable":
            raise CommandError(f"Parameter '{name[:100]}' is unexpected")
    wanted = arguments.get("enable", [])
    if not isinstance(wanted, list):
        raise CommandError("Invalid parameter type for 'enable', expected: array")
    if wanted:
        raise CommandError(f"Capability {str(wanted[0])[:100]} not available")


def _error(reason: str, kind: str, tag: Mapping[str, object]) -> dict[str, object]:
    return {**tag, "error": {"class": kind, "desc": reason}}
