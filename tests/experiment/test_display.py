import io

import pytest
from rich.console import Console

from memorax.experiment.run.display import Bar, Lines, Quiet, make_display


def rows(*returns):
    time = {"time/steps_per_second": 4_000.0}
    return [
        {"step": 1000, "seed": i} | time | ({} if r is None else {"episode/return": r}) for i, r in enumerate(returns)
    ]


def text_of(terminal, *shown):
    """What a display writes for steps of 10,000."""
    out = io.StringIO()
    display = make_display(Console(file=out, force_terminal=terminal, width=120), total=10_000)
    display.note("ppo [gru] on memory::Task")
    for step, given in shown:
        display.show(step, given)
    display.close()
    return out.getvalue()


def test_lines_where_there_is_no_terminal():
    lines = text_of(False, (1_000, rows(0.25, 0.75)), (2_000, rows(None, None)), (10_000, rows(1.0))).splitlines()
    assert lines == [
        "ppo [gru] on memory::Task",
        "step 1,000 of 10,000 ( 10%)  mean return 0.500 ± 0.250  4,000 steps/s  0:04 left",
        "step 2,000 of 10,000 ( 20%)  no episode ended  4,000 steps/s  0:04 left",
        "step 10,000 of 10,000 (100%)  mean return 1.000  4,000 steps/s  0:00 left",
    ]


def test_a_bar_on_a_terminal():
    text = text_of(True, (1_000, rows(0.25, 0.75)))
    for part in ("compiling", "10 %", "1,000/10,000 steps", "0.500 ± 0.250", "4,000 steps/s"):
        assert part in text


@pytest.mark.parametrize(("terminal", "kind"), [(True, Bar), (False, Lines)])
def test_the_terminal_decides(terminal, kind):
    display = make_display(Console(file=io.StringIO(), force_terminal=terminal), total=5)
    display.close()
    assert isinstance(display, kind)


def test_quiet_is_quiet(capsys):
    display = Quiet()
    display.note("x")
    display.show(1, rows(0.5))
    display.close()
    assert capsys.readouterr() == ("", "")


def test_hours_are_shown():
    out = io.StringIO()
    Lines(Console(file=out, width=120), 100_000_000).show(0, rows(0.0))
    assert "6:56:40 left" in out.getvalue()
