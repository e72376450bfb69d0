"""The callbacks that the page about watching shows take the events of a conversion."""

import re
import sys
import types
from pathlib import Path

import pytest

from functa_store.progress import Fitted, Learned, Note, Surveyed, Tuned, Worked

PAGE = (Path(__file__).parents[2] / "docs/how-to/watch.md").read_text()

EVENTS = (
    Note(message="begins"),
    Surveyed(done=3, total=5, rejects=1),
    Learned(
        step=10, num_steps=None, seconds=1.0, seconds_left=2.0, psnr=20.5, monitored_psnr=19.5, examples_per_second=8.0
    ),
    Tuned(step=4, num_steps=100, psnr=21.0),
    Worked(worker="one", shards=1, examples=16, total=64, examples_per_second=4.0),
    Fitted(done=16, total=64, psnr_mean=22.5, examples_per_second=4.0, seconds_left=12.0),
)


class Board:
    """Notes what it is given, in the words of both libraries."""

    def __init__(self, *_, **__):
        self.scalars = {}

    def add_scalar(self, name, value, step):
        self.scalars[name] = (value, step)

    def log(self, numbers):
        self.scalars |= numbers


@pytest.fixture
def board(monkeypatch):
    """Stands for the dashboards, which need no installation then."""
    board = Board()
    for name, attribute in (("torch.utils.tensorboard", "SummaryWriter"), ("wandb", "init")):
        module = types.ModuleType(name)
        setattr(module, attribute, lambda *_, **__: board)
        monkeypatch.setitem(sys.modules, name, module)
    return board


def defined(name):
    """A function that a block of the page defines."""
    block = next(block for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if f"def {name}(" in block)
    names = {}
    exec(compile(block, "watch.md", "exec"), names)
    return names[name]


def test_the_callback_for_tensorboard_tells_every_number(board):
    report = defined("to_tensorboard")("runs/photos")
    for event in EVENTS:
        report(event)
    assert board.scalars["learned/psnr"] == (20.5, 10)
    assert board.scalars["learned/monitored_psnr"] == (19.5, 10)
    assert board.scalars["tuned/psnr"] == (21.0, 4)
    assert board.scalars["fitted/psnr_mean"] == (22.5, 16)


def test_the_callback_for_weights_and_biases_tells_every_number(board):
    report = defined("to_wandb")(project="functa")
    for event in EVENTS:
        report(event)
    assert (board.scalars["learned/step"], board.scalars["learned/psnr"]) == (10, 20.5)
    assert board.scalars["fitted/done"] == 16
