"""The credentials file of SASL."""

from __future__ import annotations

from pathlib import Path

import pytest

from spicehop.errors import OperationError, UsageError
from spicehop.server.credentials import read_users, user_line


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path("users")


def test_lines_that_were_made_here_are_read(file: Path) -> None:
    file.write_text(f"# who may come in\n\n{user_line('anna', 'one')}\n{user_line('jörg', 'two')}\r\n")
    users = read_users(file)
    assert users.find("anna").accepts("one")
    assert users.find("jörg").accepts("two")
    assert not users.find("jörg").accepts("one")
    assert not users.find("nobody").accepts("one")


def test_the_same_password_gives_another_line_each_time() -> None:
    assert user_line("anna", "one") != user_line("anna", "one")
    assert "one" not in user_line("anna", "one").partition(":")[2].split("$")[0]


GOOD = user_line("anna", "one")
MISTAKES = [
    ("hello", "the SASL file users, line 1: a verifier has the form SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY"),
    (":" + GOOD, "the SASL file users, line 1: there is no name; a line is NAME:VERIFIER"),
    (f"{GOOD}\n{GOOD}", "the SASL file users, line 2: 'anna' is there twice"),
    ("# nobody\n", "the SASL file users names nobody; make a line with spicehop sasl-user"),
]


@pytest.mark.parametrize(("text", "sentence"), MISTAKES)
def test_mistakes_in_the_file(file: Path, text: str, sentence: str) -> None:
    file.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_users(file)
    assert str(caught.value) == sentence


def test_a_file_that_cannot_be_read(file: Path) -> None:
    with pytest.raises(OperationError, match="the SASL file users cannot be read: No such file or directory"):
        read_users(file)
    file.write_bytes(b"\xff")
    with pytest.raises(UsageError, match="the SASL file users is not text"):
        read_users(file)


@pytest.mark.parametrize("name", ["", "a:b", "#a", " a", "a\n", "a\0"])
def test_names_that_cannot_be(name: str) -> None:
    with pytest.raises(UsageError, match="can be no user's name"):
        user_line(name, "one")
