"""What a training shows while it runs: a bar on a terminal, plain lines anywhere else."""

from __future__ import annotations

import sys
import time
from typing import Any, TextIO

from minivit.training.run_directory import EpochRow

_PLAIN_SECONDS = 30.0  # without a terminal: a line at least so often


class Progress:
    """Reports steps and epochs to `stream`: loss, accuracy, images/s and the time left of the whole run."""

    def __init__(self, epochs: int, steps_per_epoch: int, first_epoch: int = 1, stream: TextIO | None = None) -> None:
        self.stream = sys.stdout if stream is None else stream
        self.epochs, self.steps_per_epoch = epochs, steps_per_epoch
        self.done_before = (first_epoch - 1) * steps_per_epoch
        self.start = self.last_line = time.perf_counter()
        self.bar: Any = None
        if self.stream.isatty():
            from tqdm import tqdm

            self.bar = tqdm(
                total=epochs * steps_per_epoch,
                initial=self.done_before,
                file=self.stream,
                unit="step",
                dynamic_ncols=True,
                bar_format="{desc} |{bar}| {percentage:3.0f} %  {postfix}  {remaining} left",
            )

    def step(self, epoch: int, step: int, loss: float, accuracy: float, speed: float) -> None:
        """After step 1, 2, ... of an epoch: the epoch's means so far, and images/s."""
        figures = f"loss {loss:.3f}  accuracy {accuracy:5.1%}  {speed:,.0f} images/s"
        if self.bar is not None:
            self.bar.set_description_str(f"epoch {epoch}/{self.epochs}", refresh=False)
            self.bar.set_postfix_str(figures, refresh=False)
            self.bar.update((epoch - 1) * self.steps_per_epoch + step - self.bar.n)
        elif time.perf_counter() - self.last_line > _PLAIN_SECONDS:
            self._line(f"epoch {epoch}/{self.epochs}  step {step}/{self.steps_per_epoch}  {figures}")

    def epoch(self, row: EpochRow) -> None:
        """After an epoch: its row of metrics, and the time left."""
        done = row.epoch * self.steps_per_epoch
        left = (
            (time.perf_counter() - self.start) / (done - self.done_before) * (self.epochs * self.steps_per_epoch - done)
        )
        self._line(
            f"epoch {row.epoch}/{self.epochs}  train loss {row.train_loss:.3f}  accuracy {row.train_accuracy:5.1%}  "
            f"validation loss {row.validation_loss:.3f}  accuracy {row.validation_accuracy:5.1%}  "
            f"{row.images_per_second:,.0f} images/s  {row.seconds:.0f} s  {int(left) // 60}:{int(left) % 60:02d} left"
        )

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self.bar is not None:
            self.bar.close()

    def _line(self, text: str) -> None:
        if self.bar is not None:
            self.bar.write(text, file=self.stream)
        else:
            print(text, file=self.stream, flush=True)
        self.last_line = time.perf_counter()
