"""Classifiers in PyTorch, trained alike whatever they see: MLPs on vectors and convolutional networks on grids."""

import dataclasses
import itertools
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from examples.classify_torch import make_classifier
from examples.command import Options

GROUPS = 8
"""Of channels, each normalised by itself; widths are multiples of it."""

HELD_OUT_AT_ONCE = 128


class ConvNet(nn.Module):
    """Convolutions, each with normalisation by groups of channels and SiLU; their mean, dropout and logits.

    Args:
        channels: Of an input, (batch, channels, *points).
        axes: 2 or 3.
        width: Channels of the first convolution; each one doubles them.
        layers: Kernel and stride of each convolution.
        num_classes: Logits.
        dropout: Share of the means that is dropped in training.
    """

    def __init__(
        self, channels: int, axes: int, width: int, layers: Sequence[tuple[int, int]], num_classes: int, dropout: float
    ) -> None:
        super().__init__()
        conv = {2: nn.Conv2d, 3: nn.Conv3d}[axes]
        sizes = (channels, *(GROUPS * round(width * 2**number / GROUPS) for number in range(len(layers))))
        parts: list[nn.Module] = []
        for (few, many), (kernel, stride) in zip(itertools.pairwise(sizes), layers, strict=True):
            padding = 0 if kernel == stride else kernel // 2
            parts += [conv(few, many, kernel, stride, padding), nn.GroupNorm(GROUPS, many), nn.SiLU()]
        self.convolutions = nn.Sequential(*parts)
        self.num_features = sizes[-1]
        self.logits = nn.Sequential(nn.Dropout(dropout), nn.Linear(sizes[-1], num_classes))
        self.memory_format = {2: torch.channels_last, 3: torch.channels_last_3d}[axes]
        for weights in self.convolutions.parameters():  # channels last: 1.1 to 4 times as fast on a CPU
            if weights.ndim == axes + 2:
                weights.data = weights.data.contiguous(memory_format=self.memory_format)

    def features(self, grids: torch.Tensor) -> torch.Tensor:
        """The means that the logits are made of, (batch, features)."""
        return self.convolutions(grids.to(memory_format=self.memory_format)).flatten(2).mean(dim=2)

    def forward(self, grids: torch.Tensor) -> torch.Tensor:
        """Logits of each class."""
        return self.logits(self.features(grids))


def mlp(numbers: int, num_classes: int, options: Options) -> nn.Module:
    """The MLP of the examples, for vectors."""
    return make_classifier((numbers,), num_classes, options)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inputs:
    """What classifiers see of the examples of a functaset or archive.

    Attributes:
        values: (examples, numbers), or (examples, channels, *points); any numbers, made floats batch by batch.
        classes: The class of each, from 0.
        train: Places to learn from.
        held_out: Places to be told.
        settings: What decides the values, apart from the archives; JSON-ready.
    """

    values: np.ndarray
    classes: np.ndarray
    train: np.ndarray
    held_out: np.ndarray
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def num_classes(self) -> int:
        """Numbers of an output."""
        return int(self.classes.max()) + 1

    def validated(self) -> "Inputs":
        """Every fifth training example held out; the others are left alone, to choose options by."""
        chosen = np.arange(len(self.train)) % 5 == 4
        return dataclasses.replace(self, train=self.train[~chosen], held_out=self.train[chosen])


def train(
    model: nn.Module, inputs: Inputs, options: Options, *, epochs: float, seconds: float | None = None
) -> dict[str, Any]:
    """Train a classifier in place, by AdamW with a cosine, dropout and mixup as the options say.

    Args:
        model: With its first weights.
        inputs: What it sees.
        options: Of training; `num_epochs` and `model` are not used.
        epochs: Passes over the training examples.
        seconds: CPU seconds after which training ends instead, as `epochs` stays out of reach. The rate then falls by
            their share.

    Returns:
        `accuracy` on what is held out, `parameters`, `epochs` and `train_seconds` of CPU time.
    """
    torch.manual_seed(options.seed)
    random = np.random.default_rng(options.seed)
    classes = torch.as_tensor(inputs.classes).long()
    optimizer = torch.optim.AdamW(model.parameters(), options.learning_rate, weight_decay=options.weight_decay)
    size = min(options.batch_size, len(inputs.train))
    per_epoch = len(inputs.train) // size
    total, done, start = max(1, round(epochs * per_epoch)), 0, time.process_time()
    order = np.empty(0, int)
    model.train()
    while (share := done / total if seconds is None else (time.process_time() - start) / seconds) < 1:
        if len(order) < size:
            order = random.permutation(inputs.train)
        rows, order = order[:size], order[size:]
        for group in optimizer.param_groups:
            group["lr"] = options.learning_rate * (1 + np.cos(np.pi * share)) / 2
        kept = random.beta(options.mixup, options.mixup) if options.mixup else 1.0
        seen, targets = torch.as_tensor(inputs.values[rows]).float(), classes[rows]
        logits = model(kept * seen + (1 - kept) * seen.flip(0))
        losses = [nn.functional.cross_entropy(logits, each) for each in (targets, targets.flip(0))]
        optimizer.zero_grad()
        (kept * losses[0] + (1 - kept) * losses[1]).backward()
        optimizer.step()
        done += 1
    spent = time.process_time() - start
    return {
        "accuracy": accuracy(model, inputs),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "epochs": done / per_epoch,
        "train_seconds": spent,
    }


@torch.no_grad()
def accuracy(model: nn.Module, inputs: Inputs) -> float:
    """Share of the held-out examples whose class is told."""
    model.eval()
    right = 0
    for rows in np.array_split(inputs.held_out, -(-len(inputs.held_out) // HELD_OUT_AT_ONCE)):
        told = model(torch.as_tensor(inputs.values[rows]).float()).argmax(dim=1).numpy()
        right += int((told == inputs.classes[rows]).sum())
    return right / len(inputs.held_out)
