"""Progress: plain lines into a file, a bar on a terminal."""

import io

import pytest

from minivit.training import progress
from minivit.training.progress import Progress
from minivit.training.run_directory import EpochRow


class Terminal(io.StringIO):
    def isatty(self):
        return True


def row(epoch):
    return EpochRow(epoch, 4 * epoch, 1e-3, 1.5, 0.25, 1.25, 0.5, 1.0, 7.0, 1234.5)


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 0.0

    monkeypatch.setattr(progress.time, "perf_counter", lambda: Clock.now)
    return Clock


def test_plain_lines_come_at_intervals_and_after_epochs(clock):
    stream = io.StringIO()
    shown = Progress(3, 4, stream=stream)
    for step in range(1, 5):
        clock.now = 20.0 * step
        shown.step(1, step, 2.0, 0.125, 99.0)
    shown.epoch(row(1))
    shown.close()
    assert stream.getvalue().splitlines() == [
        "epoch 1/3  step 2/4  loss 2.000  accuracy 12.5%  99 images/s",
        "epoch 1/3  step 4/4  loss 2.000  accuracy 12.5%  99 images/s",
        "epoch 1/3  train loss 1.500  accuracy 25.0%  validation loss 1.250  accuracy 50.0%  "
        "1,234 images/s  7 s  2:40 left",
    ]


def test_the_time_left_of_a_resumed_run_counts_only_what_it_did(clock):
    stream = io.StringIO()
    shown = Progress(4, 4, first_epoch=3, stream=stream)
    clock.now = 90.0
    shown.epoch(row(3))
    assert stream.getvalue().strip().endswith("1:30 left")


def test_a_terminal_gets_a_bar_with_the_figures_and_the_time_left():
    stream = Terminal()
    shown = Progress(2, 3, stream=stream)
    for step in (1, 2, 3):
        shown.step(1, step, 2.0, 0.125, 99.0)
    shown.epoch(row(1))
    shown.close()
    text = stream.getvalue()
    assert "epoch 1/2" in text
    assert "loss 2.000  accuracy 12.5%  99 images/s" in text
    assert "left" in text
    assert "validation loss 1.250" in text
    assert shown.bar.n == 3
    assert shown.bar.total == 6


def test_the_bar_stands_where_the_steps_do(monkeypatch):
    """On a GPU the sums are read once a second, many steps at a time."""
    monkeypatch.setattr("sys.stdout", Terminal())
    progress = Progress(epochs=2, steps_per_epoch=1000)
    progress.step(1, 400, 1.0, 0.5, 10.0)
    assert progress.bar.n == 400
    progress.step(2, 1000, 1.0, 0.5, 10.0)
    assert progress.bar.n == 2000
    progress.close()
