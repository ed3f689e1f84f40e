"""How subjects are written and which authorities count."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from spicehop.errors import OperationError, UsageError
from spicehop.transport.tls import ServerCheck, read_subject


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("CN=host", (("CN", "host"),)),
        ("C=XX,O=Red Hat, CN=a=b", (("C", "XX"), ("O", "Red Hat"), ("CN", "a=b"))),
        (r"O=One\, Two,CN=back\\slash", (("O", "One, Two"), ("CN", "back\\slash"))),
    ],
)
def test_subjects(text: str, names: tuple[tuple[str, str], ...]) -> None:
    assert read_subject(text) == names


@pytest.mark.parametrize("text", ["", "host", "CN=", "=host", "CN=host,", "CN=a,,O=b", r"CN=a\b", "CN=a\\"])
def test_what_is_no_subject(text: str) -> None:
    with pytest.raises(ValueError, match=r"a subject is written|a backslash"):
        read_subject(text)


class Shown:
    """Stands for a connection over TLS whose peer has this subject."""

    def __init__(self, *names: tuple[str, str]) -> None:
        self._names = names

    def getpeercert(self) -> dict[str, object]:
        return {"subject": tuple((name,) for name in self._names)}


@pytest.mark.parametrize(
    ("wanted", "same"),
    [
        ("O=Example, CN=Host", True),
        ("organizationName=example,CN= host", True),
        ("CN=Host, O=Example", False),
        ("CN=Host", False),
        ("O=Example, CN=Host, L=here", False),
        ("O=Example, CN=Other", False),
    ],
)
def test_a_subject_is_compared_as_a_whole(wanted: str, same: bool) -> None:
    shown = Shown(("organizationName", "Example"), ("commonName", "host"))
    refusal = ServerCheck().of_subject(wanted).refusal(shown)  # type: ignore[arg-type]
    assert refusal == ("" if same else "its certificate is of another subject: O=Example, CN=host")
    assert ServerCheck().of_host().refusal(shown) == ""  # type: ignore[arg-type]


def test_nothing_older_than_tls_1_2_and_nobody_unproven() -> None:
    check = ServerCheck()
    for tls in (check.of_host(), check.of_subject("CN=host")):
        assert tls.context.minimum_version == ssl.TLSVersion.TLSv1_2
        assert tls.context.verify_mode == ssl.CERT_REQUIRED
        assert tls.context.check_hostname is (tls.subject is None)


def test_a_ca_file_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(OperationError, match="cannot be read: No such file or directory"):
        ServerCheck(tmp_path / "absent")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(UsageError, match="holds no certificate in PEM"):
        ServerCheck(tmp_path / "text")
