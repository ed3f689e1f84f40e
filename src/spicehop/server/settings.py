"""What `spicehop serve` can be told, by flags or by a TOML file with the same names; flags win.

    settings = Settings.merged({"port": 5900}, Path("serve.toml"))
    options, control = settings.options(), settings.control_address()

Every mistake is a `UsageError` with one sentence that names the setting as the command line has it.
"""

from __future__ import annotations

import re
import ssl
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from spicehop.errors import OperationError, UsageError
from spicehop.painting import ImageCompression
from spicehop.server.control_listener import ControlAddress, control_tls
from spicehop.server.options import SaslProvider, Security, ServerOptions, tls_context
from spicehop.wire.constants import MAX_PASSWORD_LENGTH, ChannelType

GUESTS = ("demo",)
POLICIES = ("several", "single")
COMPRESSIONS = tuple(one.value for one in ImageCompression)
CHANNELS = tuple(kind.name.lower() for kind in ChannelType if kind != ChannelType.TUNNEL)
AUTHENTICATION = ("ticket_file", "sasl_file", "disable_ticketing")
"""Of these one is given; a flag takes the place of another one in the file."""
_KINDS = {"str": str, "int": int, "bool": bool, "Path": Path, "tuple[str, ...]": list}
_WORDS = {str: "a text", int: "a whole number", bool: "true or false", Path: "a text", list: "a list of texts"}


@dataclass(frozen=True, slots=True)
class Settings:
    """Each field is a setting; its name on the command line and in TOML has hyphens. None is not given."""

    guest: str = "demo"
    size: str = "1024x768"
    guest_log: Path | None = None
    agent_socket: Path | None = None
    listen: str = "127.0.0.1"
    port: int | None = None
    tls_port: int | None = None
    unix: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    ca: Path | None = None
    ticket_file: Path | None = None
    sasl_file: Path | None = None
    disable_ticketing: bool = False
    tls_channel: tuple[str, ...] = ()
    plaintext_channel: tuple[str, ...] = ()
    control: str | None = None
    compression: str = "auto"
    multi_client: str = "several"
    disable_copy_paste: bool = False
    disable_file_transfer: bool = False
    trace: Path | None = None
    incoming: str | None = None
    accept_unannounced_migration: bool = False
    seamless_migration: str = "off"

    @classmethod
    def merged(cls, flags: Mapping[str, object], file: Path | None) -> Settings:
        """The settings of a TOML file, if any, and over them those flags that are not None, all checked."""
        given = _read(file) if file is not None else {}
        wanted = {name: value for name, value in flags.items() if value is not None}
        if wanted.keys() & set(AUTHENTICATION):
            given = {name: value for name, value in given.items() if name not in AUTHENTICATION}
        given |= wanted
        settings = cls(**given)  # type: ignore[arg-type]  # each value has its field's type: see _typed
        settings.check()
        return settings

    def check(self) -> None:
        """Raise `UsageError` for what cannot be, without touching any file."""
        _one_of("guest", self.guest, GUESTS)
        _one_of("compression", self.compression, COMPRESSIONS)
        _one_of("multi-client", self.multi_client, POLICIES)
        _one_of("seamless-migration", self.seamless_migration, ("on", "off"))
        for name, channels in (("tls-channel", self.tls_channel), ("plaintext-channel", self.plaintext_channel)):
            for channel in channels:
                _one_of(name, channel, CHANNELS)
        for channel in self.tls_channel:
            if channel in self.plaintext_channel:
                raise UsageError(f"the channel {channel} is both in --tls-channel and in --plaintext-channel")
        for name, port in (("port", self.port), ("tls-port", self.tls_port)):
            if port is not None and not 0 <= port < 65536:
                raise UsageError(f"--{name} {port} is no port: give 1 to 65535, or 0 for any free one")
        self.dimensions()
        control = self._control()
        self._check_doors(control)
        if self.incoming == "defer" and control is None:
            raise UsageError("--incoming defer needs --control, where migrate-incoming says where the guest comes")
        self._check_authentication()

    def _check_doors(self, control: tuple[str, int] | Path | None) -> None:
        if self.port is None and self.tls_port is None and self.unix is None:
            raise UsageError("clients need a way in: give --port, --tls-port or --unix")
        if self.tls_port is not None and (self.cert is None or self.key is None):
            raise UsageError("--tls-port needs --cert and --key")
        if self.tls_channel and self.tls_port is None:
            raise UsageError("--tls-channel needs --tls-port")
        remote = isinstance(control, tuple)
        if remote and None in (self.cert, self.key, self.ca):
            raise UsageError(
                "--control at a TCP port needs --cert, --key and --ca, for clients prove themselves by certificates"
            )
        if self.tls_port is None and not remote:
            for name, path in (("cert", self.cert), ("key", self.key)):
                if path is not None:
                    raise UsageError(f"--{name} is for --tls-port, which is not given")
        if self.ca is not None and not remote:
            raise UsageError("--ca is for clients of --control at a TCP port, which is not given")

    def _check_authentication(self) -> None:
        ways = {
            "--ticket-file": self.ticket_file is not None,
            "--sasl-file": self.sasl_file is not None,
            "--disable-ticketing": self.disable_ticketing,
        }
        given = [name for name, is_given in ways.items() if is_given]
        if not given:
            raise UsageError(
                "say who may come in: --ticket-file or --sasl-file, or --disable-ticketing for all who can connect"
            )
        if len(given) > 1:
            raise UsageError(f"{given[0]} and {given[1]} exclude each other")
        if self.sasl_file is not None and self.tls_port is None:
            raise UsageError("--sasl-file needs --tls-port, for SASL is spoken over TLS only")

    def dimensions(self) -> tuple[int, int]:
        """Width and height of the guest's screen."""
        found = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", self.size)
        if found is None:
            raise UsageError(f"--size {self.size!r} is not of the form WIDTHxHEIGHT, such as 1024x768")
        return int(found[1]), int(found[2])

    def options(self) -> ServerOptions:
        """For `SpiceServer`. Raises `OperationError` for a file that cannot be read, `UsageError` for its content."""
        security = dict.fromkeys(map(_channel, self.tls_channel), Security.TLS)
        security |= dict.fromkeys(map(_channel, self.plaintext_channel), Security.PLAIN)
        return ServerOptions(
            host=self.listen,
            port=self.port,
            tls_port=self.tls_port,
            tls=self._tls() if self.tls_port is not None else None,
            unix_path=self.unix,
            password=read_ticket(self.ticket_file) if self.ticket_file is not None else None,
            sasl=_users(self.sasl_file) if self.sasl_file is not None else None,
            security=security,
            several_clients=self.multi_client == "several",
            copy_paste=not self.disable_copy_paste,
            file_transfer=not self.disable_file_transfer,
            compression=self.compression,
            run_guest=self.incoming is None,
            accept_unannounced=self.accept_unannounced_migration,
            seamless_migration=self.seamless_migration == "on",
        )

    def control_address(self) -> ControlAddress | None:
        """Where the control socket is; None for none."""
        control = self._control()
        if control is None or isinstance(control, Path):
            return ControlAddress(control) if control is not None else None
        cert, key, ca = self.cert, self.key, self.ca
        assert cert is not None
        assert key is not None
        assert ca is not None
        self._tls()
        try:
            tls = control_tls(cert, key, ca)
        except OSError as error:
            raise _unreadable("CA", ca, error) from None
        return ControlAddress(host=control[0], port=control[1], tls=tls)

    def _control(self) -> tuple[str, int] | Path | None:
        """Host and port, or the path of a socket; `unix:` and `tcp:` say which it is, as with `spicehop migrate`."""
        text = self.control
        if text is None:
            return None
        found = re.fullmatch(r"(?:tcp:)?(\[[0-9A-Fa-f:.]+\]|[^:/\[\]]+):([0-9]{1,5})", text)
        if found is not None and not text.startswith("unix:"):
            if int(found[2]) > 65535:
                raise UsageError(f"--control {text!r} names no port between 0 and 65535")
            return found[1].strip("[]"), int(found[2])
        path = text.removeprefix("unix:")
        if not path or path.endswith("/") or text.startswith("tcp:"):
            raise UsageError(f"--control {text!r} is no address; give the path of a socket or HOST:PORT")
        return Path(path)

    def _tls(self) -> ssl.SSLContext:
        assert self.cert is not None
        assert self.key is not None
        for what, path in (("certificate", self.cert), ("key", self.key)):
            try:
                path.read_bytes()
            except OSError as error:
                raise _unreadable(what, path, error) from None
        try:
            return tls_context(self.cert, self.key)
        except OSError:  # ssl's errors are OSErrors
            pair = f"{self.cert} and {self.key}"
            raise UsageError(f"{pair} are no certificate and its key, in PEM and without a passphrase") from None


def read_ticket(path: Path) -> str:
    """The ticket in a file's first line."""
    try:
        with path.open(encoding="utf-8") as file:
            ticket = file.readline(MAX_PASSWORD_LENGTH * 4).rstrip("\r\n")
    except OSError as error:
        raise OperationError(f"the ticket file {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"the ticket file {path} is not text") from None
    if not 1 <= len(ticket.encode()) <= MAX_PASSWORD_LENGTH or "\0" in ticket:
        raise UsageError(f"a ticket has 1 to {MAX_PASSWORD_LENGTH} bytes")
    return ticket


def _users(path: Path) -> SaslProvider:
    from spicehop.server.credentials import read_users  # brings 6 MB, which few servers need

    return read_users(path)


def _read(path: Path) -> dict[str, object]:
    """A TOML file's settings by field name; paths in it are relative to its folder."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OperationError(f"the settings {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"the settings {path} are not text") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"the settings {path} are not TOML: {error}") from None
    types = {field.name.replace("_", "-"): str(field.type).removesuffix(" | None") for field in fields(Settings)}
    found: dict[str, object] = {}
    for name, value in content.items():
        if name not in types:
            raise UsageError(f"the settings {path} have {name!r}, which is no setting; see 'spicehop serve --help'")
        found[name.replace("-", "_")] = _typed(path, name, value, _KINDS[types[name]])
    return found


def _typed(path: Path, name: str, value: object, kind: type) -> object:
    wanted = str if kind is Path else kind
    fits = isinstance(value, wanted) and (kind is bool or not isinstance(value, bool))
    if not fits or (isinstance(value, list) and not all(isinstance(one, str) for one in value)):
        raise UsageError(f"the settings {path} have {name} = {value!r}, which is not {_WORDS[kind]}")
    if kind is Path:
        return path.parent / str(value)
    return tuple(value) if isinstance(value, list) else value


def _one_of(name: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise UsageError(f"--{name} {value!r} is not one of {', '.join(known)}")


def _channel(name: str) -> ChannelType:
    return ChannelType[name.upper()]


def _unreadable(what: str, path: Path, error: OSError) -> OperationError | UsageError:
    if isinstance(error, ssl.SSLError):
        return UsageError(f"the {what} {path} is not PEM")
    return OperationError(f"the {what} {path} cannot be read: {error.strerror}")
