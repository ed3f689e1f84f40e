"""Addresses, host maps and passwords, as a user gives them."""

from __future__ import annotations

from pathlib import Path

import pytest

from spicehop.cli.arguments import PASSWORD_VARIABLE, host_map, password, server_address
from spicehop.errors import OperationError, UsageError

GOOD = [
    ("spice://host:5930", "host:5930"),
    ("host:5930", "host:5930"),
    ("spice://host:5930/", "host:5930"),
    ("host", "host:5900"),
    ("spice://[::1]:5930", "[::1]:5930"),
    ("[::1]:5930", "[::1]:5930"),
    ("SPICE://10.0.0.1:1", "10.0.0.1:1"),
]

BAD = ["", "spice://:5930", "spice://host:port", "spice://host:99999", "host:0", "host:1?x=1", "spice://[::1:5930",
       "vnc://host:5900", "spice://:secret@host:5930"]  # fmt: skip


@pytest.mark.parametrize(("text", "address"), GOOD)
def test_addresses(text: str, address: str) -> None:
    assert str(server_address(text)) == address


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_address_is_one_sentence(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        server_address(text)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_host_map() -> None:
    assert host_map(["a=b", "10.0.0.1 = c:5931"]) == {"a": "b", "10.0.0.1": "c:5931"}
    for wrong in ("a", "=b", "a="):
        with pytest.raises(UsageError, match="FROM=TO"):
            host_map([wrong])


def test_the_password_comes_from_a_file_or_the_environment(tmp_path, monkeypatch) -> None:
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    assert password(None) is None
    monkeypatch.setenv(PASSWORD_VARIABLE, "from the environment")
    assert password(None) == "from the environment"
    file = tmp_path / "password"
    file.write_text("from the file\nnot this\n")
    assert password(file) == "from the file"


def test_a_password_file_that_cannot_be_read_is_one_sentence(tmp_path) -> None:
    with pytest.raises(OperationError, match="cannot be read"):
        password(tmp_path / "absent")
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\n")
    with pytest.raises(UsageError, match="is not text"):
        password(Path(binary))
