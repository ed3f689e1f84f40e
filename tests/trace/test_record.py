"""Records as lines, and what never gets into one."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spicehop.errors import OperationError, StateError, UsageError
from spicehop.trace import CallbackSink, FileSink, MemorySink, Record, Trace, read, redacted

SECRET = "correct horse battery staple"

HIDDEN_FIELDS = [
    "password", "Password", "new_password", "spice-ticket", "ticket", "secret", "private_key", "passphrase",
    "key", "keys", "scancode", "text", "clipboard", "selection", "content", "data", "payload", "credentials",
]  # fmt: skip


@pytest.mark.parametrize("name", HIDDEN_FIELDS)
def test_no_sink_sees_what_a_secret_field_holds(name: str, tmp_path) -> None:
    memory, called = MemorySink(), []
    with Trace("client", lambda: 1.0, memory, CallbackSink(called.append), FileSink(tmp_path / "trace")) as trace:
        trace.record("qmp.command", **{name: SECRET, "arguments": {"inner": [{name: SECRET}]}})
    file = (tmp_path / "trace").read_text()
    for place in (repr(memory.records), repr(called), file):
        assert "battery" not in place
        assert "[redacted]" in place


def test_numbers_under_a_secret_name_are_hidden_too_and_flags_are_not() -> None:
    assert redacted("scancode", 0x1E) == "[redacted]"
    assert redacted("keys", [30, 31]) == "[redacted]"
    assert redacted("ticket", True) is True


def test_bytes_are_never_shown_and_url_users_are_hidden() -> None:
    assert redacted("note", b"abc") == "[3 bytes]"
    assert redacted("notes", {"x": (b"abc", 1)}) == {"x": ["[3 bytes]", 1]}
    assert redacted("url", f"spice://me:{SECRET.split()[0]}@host:1") == "spice://[redacted]@host:1"


def test_qmp_data_is_walked_and_its_status_stays() -> None:
    assert redacted("data", {"status": "completed", "password": "x"}) == {
        "status": "completed",
        "password": "[redacted]",
    }


def test_a_record_survives_its_line() -> None:
    record = Record(12.5, "client", "channel.migrate", 7, "display:0", 1, {"flags": 3, "note": "ü\n"})
    line = record.to_line()
    assert "\n" not in line
    assert list(json.loads(line))[:6] == ["t", "party", "event", "session", "channel", "generation"]
    assert Record.from_line(line) == record


details = st.dictionaries(
    st.text(min_size=1).filter(lambda name: name not in ("t", "party", "event", "session", "channel", "generation")),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=6,
    ),
    max_size=4,
)


@settings(max_examples=60, deadline=None)
@given(details)
def test_any_detail_can_be_recorded_and_read_back(detail) -> None:
    sink = MemorySink()
    Trace("client", lambda: 0.0, sink)._sinks[0].accept(
        Record(0.0, "client", "x", detail={name: redacted(name, value) for name, value in detail.items()})
    )
    assert Record.from_line(sink.records[0].to_line()).detail == dict(sink.records[0].detail)


@settings(max_examples=100, deadline=None)
@given(st.text() | st.recursive(st.none() | st.floats() | st.text(), lambda i: st.dictionaries(
    st.sampled_from(["t", "party", "event", "session", "channel", "generation"]), i)).map(json.dumps))  # fmt: skip
def test_a_foreign_line_is_a_usage_error_and_nothing_else(line: str) -> None:
    with contextlib.suppress(UsageError):
        assert Record.from_line(line).party


def test_a_detail_cannot_take_the_place_of_a_field() -> None:
    with pytest.raises(StateError, match="party"):
        Trace("client", lambda: 0.0, MemorySink()).record("x", party="other")


def test_a_trace_without_sinks_reads_no_clock() -> None:
    Trace("client", lambda: pytest.fail("the clock was read")).record("x")


def test_parties_share_the_sinks_and_time_can_be_given() -> None:
    sink = MemorySink()
    trace = Trace("conductor", lambda: 5.0, sink)
    trace.for_party("source").record("qmp.STOP", at=4.5)
    trace.record("conductor.migrate")
    assert [(r.party, r.time) for r in sink.records] == [("source", 4.5), ("conductor", 5.0)]


def test_a_file_that_cannot_be_opened_is_one_sentence(tmp_path) -> None:
    with pytest.raises(OperationError, match="cannot be written"):
        FileSink(tmp_path)


def test_a_full_disk_ends_the_trace_and_not_the_session(tmp_path) -> None:
    sink = FileSink(tmp_path / "trace")
    sink._file.close()
    sink._file = open("/dev/full", "w", buffering=1)  # noqa: SIM115
    trace = Trace("client", lambda: 0.0, sink)
    trace.record("x")
    trace.record("y")
    trace.close()
    assert "ends early" in sink.failure


def test_lines_are_there_before_the_file_is_closed(tmp_path) -> None:
    trace = Trace("client", lambda: 3.0, FileSink(tmp_path / "trace"))
    trace.record("session.connected", session=9)
    assert [r.event for r in read(tmp_path / "trace")] == ["session.connected"]
    trace.close()
