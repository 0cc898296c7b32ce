"""The report for each of its readers, and `require` for tests."""

import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from helpers.cases import CASES

from minivit.gradcheck import GradientError, Report, Row, check

RIGHT = Row("dx", (3, 5), 2e-16, 1e-12, "right", 0.25)
WRONG = Row("dw", (5,), 0.8, 1e-12, "off by the factor 0.2 = 1 / T", 0.5)
NAN = Row("db", (5,), math.nan, 1e-12, "5 of 5 numbers are not finite")
BROKEN = Row("cache", (), math.inf, 1e-12, "the cache was changed <b>")


def report(*rows):
    return Report("layer", "complex_step", "float64", rows)


def test_right_is_within_the_tolerance_and_nan_never_is():
    assert report(RIGHT).passed
    assert not report(WRONG, RIGHT).passed
    assert not report(NAN).passed
    assert not Row("dx", (), math.nan, math.inf, "").passed


def test_worst_and_error():
    assert report(WRONG, RIGHT).worst is WRONG
    assert report(WRONG, RIGHT).error == 0.8
    assert report(NAN, RIGHT).error == math.inf


def test_a_check_s_rows_are_worst_first_in_units_of_their_tolerance():
    case = CASES["linear"]

    def broken(dy, cache):
        dx, dw, db = case.f_backward(dy, cache)
        return dx, 1.1 * dw, 2 * db

    rows = check(case.f, broken, case.args).rows
    assert [row.tensor for row in rows] == ["db", "dw", "dx"]
    assert [row.excess for row in rows] == sorted((row.excess for row in rows), reverse=True)


def test_rows_are_found_by_their_tensor():
    assert report(WRONG, RIGHT)["dx"] is RIGHT
    with pytest.raises(KeyError, match="dy"):
        report(WRONG)["dy"]


def test_require_returns_the_report_or_raises_with_the_table():
    assert report(RIGHT).require().rows == (RIGHT,)
    assert report(WRONG).require(0.9).rows == (WRONG,)
    with pytest.raises(GradientError) as error:
        report(WRONG, RIGHT).require()
    assert str(error.value) == str(report(WRONG, RIGHT))
    with pytest.raises(AssertionError, match=re.escape("(required: 1e-17)")):
        report(RIGHT).require(1e-17)
    for row in (NAN, BROKEN):
        with pytest.raises(GradientError):
            report(row).require(math.inf if row is NAN else 1e300)


def test_text():
    lines = str(report(WRONG, RIGHT)).splitlines()
    assert lines[0] == "layer: complex step, float64: WRONG"
    assert lines[1].split() == ["tensor", "shape", "error", "tolerance", "verdict"]
    assert lines[2].split(None, 3)[:3] == ["!", "dw", "(5,)"]
    assert lines[2].endswith("8.0e-01      1e-12  off by the factor 0.2 = 1 / T")
    assert not lines[3].startswith("!")
    assert lines[1].index("verdict") == lines[2].index("off by")
    assert str(report(RIGHT)).startswith("layer: complex step, float64: right")
    assert str(report(WRONG)).isascii(), "any terminal can print it"


def test_a_note_is_part_of_every_text():
    noted = Report("layer", "adjoint", "float64", (RIGHT,), "not linear in q: not checked")
    assert str(noted).endswith("not linear in q: not checked")
    assert "<p>not linear in q: not checked</p>" in noted._repr_html_()


class Cells(HTMLParser):
    """The text of each cell of a table."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def test_html_is_a_whole_table_with_nothing_unescaped():
    table = Cells(report(BROKEN, WRONG, RIGHT)._repr_html_())
    assert table.open == []
    assert table.rows[0] == ["", "tensor", "shape", "error", "tolerance", "verdict"]
    assert table.rows[1] == ["✗", "cache", "()", "-", "1e-12", "the cache was changed <b>"]
    assert table.rows[2][:2] == ["✗", "dw"]
    assert table.rows[3][:2] == ["✓", "dx"]


def test_json_is_json_whatever_the_error():
    rows = json.loads(report(BROKEN, NAN, WRONG, RIGHT).json(), parse_constant=lambda word: pytest.fail(word))
    assert [row["error"] for row in rows] == [None, None, 0.8, 2e-16]
    assert rows[3] == {
        "name": "layer", "tensor": "dx", "error": 2e-16, "tolerance": 1e-12, "seconds": 0.25,
        "shape": [3, 5], "passed": True, "verdict": "right",
    }  # fmt: skip


def test_seconds_are_those_of_the_numeric_side():
    case = CASES["attention"]
    rows = check(case.f, case.f_backward, case.args).rows
    assert all(0.0 < row.seconds < 10.0 for row in rows)


def test_a_report_of_numpy_numbers_is_json_too():
    assert json.loads(report(RIGHT.__class__("dx", (3,), np.float64(0.5), 1e-12, "")).json())[0]["error"] == 0.5


def test_where_html_cannot_be_shown_ipython_shows_the_text():
    class Printer:
        def __init__(self):
            self.shown = ""

        def text(self, text):
            self.shown += text

    printer, it = Printer(), report(BROKEN, WRONG, RIGHT)
    it._repr_pretty_(printer, cycle=False)
    assert printer.shown == str(it)
