"""What decides how much the tests try and how long they wait."""

import os

import effort
import pytest


@pytest.mark.skipif(not hasattr(os, "getloadavg"), reason="Windows does not say its load")
@pytest.mark.parametrize(("load", "seconds"), [(0, 10), (4, 10), (10, 25), (40, 100)])
def test_who_waits_waits_longer_where_others_use_the_cores(monkeypatch, load, seconds):
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0, 0))
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert effort.patient(10) == seconds


@pytest.mark.parametrize(("soak", "times"), [(False, 2), (True, 20)])
def test_a_soak_tries_more(monkeypatch, soak, times):
    monkeypatch.setattr(effort, "SOAK", soak)
    assert effort.often(2, 20) == times


def test_some_parameters_are_for_every_day_and_all_of_them_for_a_soak():
    found = effort.some(2, {"a": 1, "b": (2, 3), "c": 4, "d": 5})
    assert [(p.id, p.values, bool(p.marks)) for p in found] == [
        ("a", (1,), False), ("b", (2, 3), True), ("c", (4,), False), ("d", (5,), True)
    ]  # fmt: skip
    assert [bool(p.marks) for p in effort.some(3, "abcdefg")] == [False, True, False, True, True, False, True]
    assert effort.some(9, "ab") == effort.some(2, "ab")


@pytest.mark.soak
def test_what_is_marked_as_a_soak_runs_in_a_soak_alone():
    assert "COURSE_SOAK" in os.environ
