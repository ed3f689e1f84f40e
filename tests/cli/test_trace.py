"""`spicehop trace`: table, JSON, page, picture, sentences."""

from __future__ import annotations

import json

import pytest

from spicehop.cli.app import main
from spicehop.trace import FileSink, Trace

EVENTS = [
    (0.000, "conductor", "conductor.linking", "", {}),
    (0.001, "client", "migration.begin", "main:0", {"scheme": "seamless", "host": "::1", "port": 5930}),
    (0.020, "client", "migration.connected", "main:0", {}),
    (0.900, "source", "qmp.STOP", "", {}),
    (0.910, "source", "qmp.MIGRATION", "", {"status": "completed"}),
    (0.911, "client", "channel.migrate", "main:0", {"flags": 3}),
    (0.915, "client", "channel.swapped", "main:0", {}),
    (0.916, "client", "migration.done", "", {"scheme": "seamless"}),
    (0.917, "source", "qmp.SPICE_MIGRATE_COMPLETED", "", {}),
    (0.930, "target", "qmp.RESUME", "", {}),
]


@pytest.fixture
def files(tmp_path) -> list[str]:
    client, conductor = tmp_path / "client.jsonl", tmp_path / "conductor.jsonl"
    with (
        Trace("client", lambda: 0.0, FileSink(client)) as seen,
        Trace("conductor", lambda: 0.0, FileSink(conductor)) as conducted,
    ):
        for time, party, event, channel, detail in EVENTS:
            trace = seen if party == "client" else conducted.for_party(party)
            trace.record(event, at=time, channel=channel, session=7 if party == "client" else 0, **detail)
    return [str(client), str(conductor)]


def test_the_table_comes_first_and_the_sentences_last(files, capsys) -> None:
    assert main(["trace", *files]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[0] == "ms"
    assert "VM stands still" in "\n".join(lines)
    assert lines[-1] == "The migration moved the session seamlessly in 930 ms."


def test_json_has_everything(files, capsys) -> None:
    assert main(["trace", "--json", *files]) == 0
    outcome = json.loads(capsys.readouterr().out)
    assert [m["scheme"] for m in outcome["migrations"]] == ["seamless"]
    stopped = next(p for p in outcome["migrations"][0]["phases"] if p["name"] == "stopped")
    assert stopped["duration_ms"] == 30.0
    assert len(outcome["records"]) == len(EVENTS)
    assert outcome["explanation"]


def test_explain_is_only_sentences(files, capsys) -> None:
    assert main(["trace", "--explain", *files]) == 0
    assert capsys.readouterr().out == "The migration moved the session seamlessly in 930 ms.\n"


def test_page_and_picture_are_written(files, tmp_path, capsys) -> None:
    page, picture = tmp_path / "out.html", tmp_path / "out.svg"
    assert main(["trace", *files, "--html", str(page), "--svg", str(picture), "--title", "Monday's hop"]) == 0
    assert "Monday&#x27;s hop" in page.read_text()
    assert picture.read_text().startswith("<svg")


def test_an_offset_moves_a_file(files, capsys) -> None:
    assert main(["trace", "--json", *files, "--offset", f"{files[0]}=100"]) == 0
    records = json.loads(capsys.readouterr().out)["records"]
    assert [r["party"] for r in records[-5:]] == ["client"] * 5


BAD = [
    (["--offset", "nonsense"], 2, "is not of the form FILE=SECONDS"),
    (["--offset", "other=1"], 2, "not among the files"),
    (["--html", "."], 2, "is a folder"),
    (["--html", "absent/out.html"], 2, "is no folder"),
    (["absent.jsonl"], 1, "cannot be read: No such file or directory"),
    ([__file__], 2, "line 1: this is not a line of JSON"),
]


@pytest.mark.parametrize(("words", "code", "sentence"), BAD)
def test_mistakes_are_one_sentence(files, words, code: int, sentence: str, capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["trace", *files, *words]) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert sentence in shown.err
    assert shown.err.count("\n") == 1
