"""SASL dialogues as charts: what the client says, what it is told."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scramp import ScramClient, ScramException

from spicehop.channels.serving.sasl import (
    MECHANISMS,
    PLAIN,
    SCRAM,
    Dialogue,
    PlainDialogue,
    SaslRefused,
    SaslUsers,
    Verifier,
)
from spicehop.errors import UsageError

VERIFIER = Verifier.of("sécret", b"0123456789abcdef", 4096)
COMMA = Verifier.of("other", b"fedcba9876543210", 4096)


def users() -> SaslUsers:
    return SaslUsers({"anna": VERIFIER, "b=c,d": COMMA}, nonce=lambda: "server-nonce", secret=bytes(32))


def client(name: str = "anna", password: str = "sécret") -> ScramClient:
    return ScramClient([SCRAM], name, password, c_nonce="client-nonce")


def run_scram(dialogue: Dialogue, scram: ScramClient) -> bool:
    """Whether the client came in, and believes the server."""
    challenge, done = dialogue.step(scram.get_client_first().encode())
    assert challenge is not None
    assert not done
    scram.set_server_first(challenge.decode())
    final, done = dialogue.step(scram.get_client_final().encode())
    assert final is not None
    scram.set_server_final(final.decode())
    return done


@pytest.mark.parametrize(("name", "password"), [("anna", "sécret"), ("b=c,d", "other")])
def test_scram_lets_in_who_knows_the_password(name: str, password: str) -> None:
    assert run_scram(users().begin(SCRAM), client(name, password))


@pytest.mark.parametrize(("name", "password"), [("anna", "wrong"), ("nobody", "sécret"), ("anna", "sécret ")])
def test_scram_refuses_who_does_not(name: str, password: str) -> None:
    with pytest.raises(SaslRefused, match="wrong name or password"):
        run_scram(users().begin(SCRAM), client(name, password))


def test_scram_as_libsasl_speaks_it() -> None:
    """It says `a=` with its own name, and repeats that in base64."""
    scram = client()
    dialogue = users().begin(SCRAM)
    first = scram.get_client_first().replace("n,,", "n,a=anna,", 1)
    challenge, _ = dialogue.step(first.encode())
    assert challenge is not None
    assert challenge.startswith(b"r=client-nonceserver-nonce,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=4096")
    scram.set_server_first(challenge.decode())
    scram.gs2_header = LibsaslHeader()
    assert dialogue.step(scram.get_client_final().encode())[1]


class LibsaslHeader:
    """Takes the place of scramp's own in the client's last message."""

    def make_cbind_input(self, channel_binding: None) -> bytes:
        return b"n,a=anna,"


@pytest.mark.parametrize("first", ["n,a=bert,n=anna,r=x", "n,a=b=2Cc,n=anna,r=x", "p=tls-unique,,n=anna,r=x"])
def test_scram_refuses_to_act_for_others_and_channel_binding(first: str) -> None:
    with pytest.raises(SaslRefused):
        users().begin(SCRAM).step(first.encode())


def test_scram_without_a_first_answer() -> None:
    dialogue = users().begin(SCRAM)
    assert dialogue.step(None) == (b"", False)
    assert run_scram(dialogue, client())


def test_scram_without_a_last_answer() -> None:
    dialogue = users().begin(SCRAM)
    dialogue.step(client().get_client_first().encode())
    with pytest.raises(SaslRefused, match="did not prove"):
        dialogue.step(None)


def test_an_answer_from_another_session_does_not_fit() -> None:
    nonces = iter(["one", "two"])
    fresh = SaslUsers({"anna": VERIFIER}, nonce=lambda: next(nonces), secret=bytes(32))
    scram, first, second = client(), fresh.begin(SCRAM), fresh.begin(SCRAM)
    hello = scram.get_client_first().encode()
    challenge, _ = first.step(hello)
    second.step(hello)
    assert challenge is not None
    scram.set_server_first(challenge.decode())
    with pytest.raises(SaslRefused):
        second.step(scram.get_client_final().encode())


def test_names_cannot_be_probed() -> None:
    """A name that there is not gets a salt of its own, the same each time."""
    salts = [users().find("nobody").salt for _ in range(2)] + [users().find("somebody").salt]
    assert salts[0] == salts[1] != salts[2]
    challenge, _ = users().begin(SCRAM).step(b"n,,n=nobody,r=x")
    assert challenge is not None
    assert b",i=" in challenge


def test_the_client_knows_a_server_that_does_not_know_the_password() -> None:
    scram = client()
    impostor = SaslUsers({"anna": COMMA}, nonce=lambda: "n", secret=bytes(32)).begin(SCRAM)
    challenge, _ = impostor.step(scram.get_client_first().encode())
    assert challenge is not None
    scram.set_server_first(challenge.decode())
    scram.get_client_final()
    with pytest.raises(ScramException):
        scram.set_server_final("v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")


PLAIN_CASES = [
    (b"\0anna\0s\xc3\xa9cret", ""),
    (b"anna\0anna\0s\xc3\xa9cret", ""),
    (b"bert\0anna\0s\xc3\xa9cret", "wrong name or password"),
    (b"\0anna\0wrong", "wrong name or password"),
    (b"\0anna\0", "wrong name or password"),
    (b"\0nobody\0s\xc3\xa9cret", "wrong name or password"),
    (b"\0\0s\xc3\xa9cret", "the client's PLAIN message is malformed"),
    (b"", "the client's PLAIN message is malformed"),
    (b"\0anna\0a\0b", "the client's PLAIN message is malformed"),
    (b"\0anna\0" + b"x" * 256, "the client's PLAIN message is malformed"),
    (b"\0anna\0\xff", "the client's PLAIN message is not UTF-8"),
]


@pytest.mark.parametrize(("answer", "reason"), PLAIN_CASES)
def test_plain(answer: bytes, reason: str) -> None:
    dialogue = users().begin(PLAIN)
    assert isinstance(dialogue, PlainDialogue)
    assert dialogue.step(None) == (b"", False)
    if not reason:
        assert dialogue.step(answer) == (None, True)
        return
    with pytest.raises(SaslRefused) as caught:
        dialogue.step(answer)
    assert str(caught.value) == reason


FIRST = b"n,,n=anna,r=x"


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(MECHANISMS), st.lists(st.none() | st.binary(max_size=40) | st.just(FIRST), max_size=3))
def test_answers_that_are_anything_are_only_refused(mechanism: str, answers: list[bytes | None]) -> None:
    dialogue = users().begin(mechanism)
    for answer in answers:
        try:
            assert not dialogue.step(answer)[1]
        except SaslRefused:
            break


def test_a_verifier_is_read_as_it_is_written() -> None:
    text = str(VERIFIER)
    assert text.startswith("SCRAM-SHA-256$4096:MDEyMzQ1Njc4OWFiY2RlZg==$")
    assert Verifier.parse(text) == VERIFIER
    assert VERIFIER.accepts("sécret")
    assert not VERIFIER.accepts("secret")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "secret",
        str(VERIFIER).replace("256", "1"),
        str(VERIFIER).replace("4096", "4095"),
        str(VERIFIER).replace("4096", "9" * 30),
        str(VERIFIER).replace("4096", "many"),
        str(VERIFIER).replace("MDEy", "MDE"),
        str(VERIFIER)[:-4],
        str(VERIFIER) + "$",
    ],
)
def test_what_is_no_verifier(text: str) -> None:
    with pytest.raises(UsageError, match="a verifier "):
        Verifier.parse(text)


@pytest.mark.parametrize("password", ["", "\x07", "\u0221"])
def test_what_can_be_no_password(password: str) -> None:
    with pytest.raises(UsageError, match="can be no password"):
        Verifier.of(password, bytes(16))
