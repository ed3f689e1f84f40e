"""The picture and the page: well-formed, self-contained, nothing outside the drawing."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_diagnosis import CASES
from timelines import BESIDE, SEAMLESS, timeline

from spicehop.trace.drawing import spread, ticks
from spicehop.trace.page import html
from spicehop.trace.picture import svg

NAMESPACE = "{http://www.w3.org/2000/svg}"


class Checker(HTMLParser):
    """Collects what a page would load, and whether its elements close."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attributes) -> None:
        if tag not in ("meta", "br"):
            self.open.append(tag)
        names = dict(attributes)
        if tag in ("script", "link", "img", "iframe", "image", "use") or "src" in names or "href" in names:
            self.loads.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attributes) -> None:
        pass


@pytest.mark.parametrize("rows", [case[0] for case in CASES])
def test_every_case_can_be_drawn(rows) -> None:
    records = timeline(*rows)
    root = ElementTree.fromstring(svg(records))
    width, height = float(root.get("width")), float(root.get("height"))
    for element in root.iter(f"{NAMESPACE}rect"):
        assert -0.1 <= float(element.get("x")) <= width
        assert float(element.get("x")) + float(element.get("width")) <= width + 0.1
        assert float(element.get("y")) + float(element.get("height")) <= height + 0.1
        assert float(element.get("width")) >= 0
    page = Checker()
    page.feed(html(records))
    assert page.open == []
    assert page.loads == []


def test_a_stock_client_has_a_lane_of_its_own() -> None:
    alone, beside = svg(timeline(*SEAMLESS)), svg(timeline(*SEAMLESS, *BESIDE))
    assert ">spice-gtk<" not in alone
    assert beside.count(">spice-gtk<") == 2  # in either panel
    assert 'class="stock"' in beside
    assert "spice-gtk has linked the target" in beside


def test_nothing_is_loaded_from_elsewhere() -> None:
    text = html(timeline(*SEAMLESS)) + svg(timeline(*SEAMLESS))
    assert not re.search(r"url\(|@import|<script|http(?!://www\.w3\.org/2000/svg)", text)


def test_light_and_dark_are_both_there() -> None:
    assert "prefers-color-scheme:dark" in svg(timeline(*SEAMLESS))
    assert "prefers-color-scheme:dark" in html(timeline(*SEAMLESS))


def test_every_event_of_the_switch_over_has_a_tooltip() -> None:
    titles = [e.text for e in ElementTree.fromstring(svg(timeline(*SEAMLESS))).iter(f"{NAMESPACE}title")]
    for words in (
        "channel.flush-mark",
        "qmp.RESUME",
        "wait for the data of main:0: 2.0 ms",
        "qmp.SPICE_MIGRATE_COMPLETED",
    ):
        assert any(words in title for title in titles), words


def test_labels_are_text_and_not_markup() -> None:
    rows = (
        *SEAMLESS[:-1],
        (930, "client", "picture.first", "<b>&display", {"reason": "</svg><script>alert(1)</script>"}),
    )
    text = svg(timeline(*rows), title="<script>") + html(timeline(*rows), title="<script>")
    assert "<script" not in text
    assert "<b>" not in text


def test_an_empty_timeline_says_so() -> None:
    assert "There is no migration in this trace." in svg([])
    assert "There is no migration in this trace." in html([])


@settings(max_examples=80, deadline=None)
@given(st.floats(-1e4, 1e6), st.floats(0.01, 1e6), st.integers(2, 15))
def test_ticks_are_few_even_and_inside(low: float, span: float, most: int) -> None:
    values = ticks(low, low + span, most)
    assert len(values) <= most + 1
    assert all(low - 1e-6 * span <= value <= low + 1.000001 * span for value in values)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.floats(0, 900), min_size=1, max_size=9).map(sorted))
def test_labels_that_fit_do_not_overlap(wanted: list[float]) -> None:
    placed = spread(wanted, [100.0] * len(wanted), 0, 900)
    assert all(b - a >= 99.99 for a, b in pairwise(placed))
    assert placed[0] >= 49.99
    assert placed[-1] <= 850.01
