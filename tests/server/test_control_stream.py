"""Where one JSON value ends and the next begins."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spicehop.server.control_stream import MAX_DEPTH, JsonFault, JsonSplitter, JsonValue, encode


def read(*chunks: bytes, limit: int = 1 << 16) -> list[object]:
    """What the splitter finds, values as they are, faults as their reasons in a tuple."""
    splitter = JsonSplitter(limit)
    found: list[object] = []
    for chunk in chunks:
        splitter.feed(chunk)
        while (one := splitter.next_value()) is not None:
            found.append(one.value if isinstance(one, JsonValue) else (one.reason,))
    return found


PARSE = "JSON parse error, "
CASES = [
    ("one on a line", b'{"a":1}\n', [{"a": 1}]),
    ("two without a separator", b'{"a":1}{"b":2}', [{"a": 1}, {"b": 2}]),
    ("one over several lines", b'{"a":\r\n  [1,\n2]}\n', [{"a": [1, 2]}]),
    ("only space", b" \r\n\t", []),
    ("half of one", b'{"a":', []),
    ("single quotes", b"{'a':'say \"it\\'s\"'}", [{"a": 'say "it\'s"'}]),
    ("single quotes twice", b"{'it''s':1}\n", [(f"{PARSE}missing : in object pair",)]),
    ("braces in text", b'{"a":"}{"}', [{"a": "}{"}]),
    ("an escaped quote in text", b'{"a":"\\"}"}', [{"a": '"}'}]),
    ("no object", b'[1]\n5\n"a"\n', [("QMP input must be a JSON object",)] * 3),
    ("a stray bracket, and a good line after it", b'}}}}\n{"a":1}', [(f"{PARSE}expecting value",), {"a": 1}]),
    ("bytes that are no text", b'\xff\xfe\n{"a":1}', [(f"{PARSE}expecting value",), {"a": 1}]),
    ("text that is no UTF-8", b'{"a":"\xff"}\n', [(f"{PARSE}the text is not UTF-8",)]),
    ("a line end in text", b'{"a":"b\n{"a":1}', [(f"{PARSE}a text is not closed on its line",), {"a": 1}]),
    ("a key twice", b'{"a":1,"a":2}\n', [(f"{PARSE}duplicate key",)]),
    ("no colon", b'{"a" 5}\n', [(f"{PARSE}missing : in object pair",)]),
    ("NaN", b'{"a":NaN}\n', [(f"{PARSE}invalid keyword 'NaN'",)]),
    ("brackets that do not match", b'{"a":[}]}\n', [(f"{PARSE}expecting value",)]),
    ("too deep", b'{"a":' + b"[" * MAX_DEPTH + b'\n{"b":2}', [("JSON nesting depth limit exceeded",), {"b": 2}]),
    ("a number without an end", b'{"a":' + b"9" * 5000 + b'}\n{"b":2}', [(f"{PARSE}a number is too long",), {"b": 2}]),
]  # fmt: skip


@pytest.mark.parametrize(("data", "found"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_is_found(data: bytes, found: list[object]) -> None:
    assert read(data) == found
    assert read(*(data[i : i + 1] for i in range(len(data)))) == found, "byte by byte"


def test_a_value_that_does_not_end_is_dropped_at_the_limit() -> None:
    found = read(b'{"a":"', b"x" * 500, b"x" * 600, b"x" * 10_000, b'\n{"b":2}\n', limit=1000)
    assert found == [("JSON token size limit exceeded",), {"b": 2}]


def test_a_huge_text_is_not_kept() -> None:
    splitter = JsonSplitter(1000)
    for _ in range(100):
        splitter.feed(b"x" * 65536)
        while splitter.next_value() is not None:
            pass
        assert len(splitter._value) <= 1000
        assert not splitter.waiting


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.dictionaries(st.text(), values, max_size=3), max_size=4), st.integers(1, 7), st.booleans())
def test_every_object_comes_back_in_any_pieces(objects: list[dict[str, object]], size: int, ascii_only: bool) -> None:
    data = b"".join(json.dumps(one, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass") for one in objects)
    assert read(*(data[i : i + size] for i in range(0, len(data), size))) == objects


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_garbage_costs_one_fault_a_line_and_nothing_else(garbage: bytes) -> None:
    splitter = JsonSplitter(200)
    splitter.feed(garbage)
    faults = 0
    while (one := splitter.next_value()) is not None:
        faults += isinstance(one, JsonFault)
    assert faults <= garbage.count(b"\n") + 1
    splitter.feed(b'\n"\n{"a":1}')
    found = []
    while (one := splitter.next_value()) is not None:
        found.append(one)
    assert found[-1] == JsonValue({"a": 1})


def test_messages_are_ascii_lines() -> None:
    assert encode({"a": "é\ud800"}) == b'{"a": "\\u00e9\\ud800"}\r\n'
