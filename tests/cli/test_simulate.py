"""`spicehop simulate`: both forms, one form, one fault, coverage, as text and as JSON."""

from __future__ import annotations

import json
import re

import pytest

from spicehop.cli.simulate import Form, command
from spicehop.errors import UsageError

ENDED = r"{} runs \((\d [a-z-]+(, )?)+\), 0 failed\n"
"""How they end is the seeds' business."""


def test_both_forms_run_as_they_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    command(seed=4, runs=2)
    assert re.fullmatch(ENDED.format(4), capsys.readouterr().out)
    command(seed=4, runs=2, form=Form.QEMU)
    assert re.fullmatch(ENDED.format(2), capsys.readouterr().out)


def test_rows_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    command(seed=4, runs=1, form=Form.SPICEHOP, coverage=True, as_json=True)
    report = json.loads(capsys.readouterr().out)
    assert report["runs"] == 1
    assert report["failed"] == []
    assert report["rows"]["leaving"]["AwaitingDeparture: the client has closed its main channel"] >= 1
    assert report["rows"]["guest-arrival"]


def test_one_fault_at_some_steps(capsys: pytest.CaptureFixture[str]) -> None:
    command(seed=4, form=Form.SPICEHOP, fault="migration cancelled", stride=1500)
    assert " 0 failed" in capsys.readouterr().out


def test_a_fault_of_the_other_form_is_unknown() -> None:
    with pytest.raises(UsageError, match="no fault is called 'direct link cut'"):
        command(form=Form.QEMU, fault="direct link cut")
