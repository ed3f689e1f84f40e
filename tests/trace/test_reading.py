"""Files back into one timeline; foreign files get one sentence with a line number."""

from __future__ import annotations

import pytest

from spicehop.errors import OperationError, UsageError
from spicehop.trace import FileSink, MemorySink, Trace, merge, read, read_all


def write(path, party: str, *times: float) -> str:
    clock = iter(times)
    with Trace(party, lambda: next(clock), FileSink(path)) as trace:
        for _ in times:
            trace.record("x.y")
    return str(path)


def test_several_files_become_one_timeline_in_order(tmp_path) -> None:
    client = write(tmp_path / "client", "client", 1.0, 3.0)
    conductor = write(tmp_path / "conductor", "conductor", 2.0, 4.0)
    parties = [record.party for record in read_all([client, conductor])]
    assert parties == ["client", "conductor", "client", "conductor"]


def test_an_offset_moves_one_file(tmp_path) -> None:
    client = write(tmp_path / "client", "client", 1.0, 3.0)
    conductor = write(tmp_path / "conductor", "conductor", 2.0)
    records = read_all([client, conductor], offsets={client: 10.0})
    assert [(r.party, r.time) for r in records] == [("conductor", 2.0), ("client", 11.0), ("client", 13.0)]
    with pytest.raises(UsageError, match="not among the files"):
        read_all([client], offsets={"other": 1.0})


def test_equal_times_keep_the_order_of_the_files() -> None:
    first, second = MemorySink(), MemorySink()
    Trace("a", lambda: 1.0, first).record("x")
    Trace("b", lambda: 1.0, second).record("x")
    assert [r.party for r in merge(first.records, second.records)] == ["a", "b"]


GOOD = '{"t":1.0,"party":"client","event":"x"}\n'

FOREIGN = [
    (b"", "line 1"),
    (b"\n\n", "line 1"),
    (b"hello\n", "line 1: this is not a line of JSON"),
    (GOOD.encode() + b"[1]\n", "line 2: this is JSON, but not an object"),
    (GOOD.encode() + b'\n{"t":"soon","party":"a","event":"b"}\n', "line 3: there is no time"),
    (b'{"t":NaN,"party":"a","event":"b"}\n', "line 1: there is no time"),
    (b'{"t":1,"party":"","event":"b"}\n', "line 1: there is no text"),
    (b'{"t":1,"party":"a","event":"b","session":"x"}\n', "line 1: 'session'"),
    (GOOD.encode() + b"\xff\xfe\x00\n", "line 1 or later: this is not text"),
    (b"\x00" * 3_000_000, "line 1"),
    (b"[" * 200_000, "line 1"),
]


@pytest.mark.parametrize(("content", "words"), FOREIGN)
def test_a_foreign_file_is_one_sentence_with_a_line(content: bytes, words: str, tmp_path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        read(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_line_that_a_killed_process_left_unfinished_is_left_out(tmp_path) -> None:
    path = tmp_path / "file"
    path.write_text(GOOD + GOOD[:20])
    assert len(read(path)) == 1


def test_what_cannot_be_read_is_one_sentence(tmp_path) -> None:
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(OperationError, match="cannot be read"):
            read(path)


def test_lines_from_elsewhere_are_redacted_again(tmp_path) -> None:
    path = tmp_path / "file"
    path.write_text('{"t":1,"party":"client","event":"x","password":"abc"}\n')
    assert read(path)[0].detail == {"password": "[redacted]"}
