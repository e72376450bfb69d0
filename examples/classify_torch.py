"""Classifiers on modulations, trained in PyTorch: MLPs, and a transformer or convolutions for grids of cells.

    python -m examples.classify_torch                                       # handwritten digits, converted on the spot
    python -m examples.classify_torch --store faces.functa --label Smiling  # any functaset with a label of classes
    python -m examples.classify_torch --store cells.functa --label class --model convolutions --seeds 5

Learns on the split "train" and reports the share of held-out examples that it classifies right, beside logistic
regression on the same modulations and the most frequent class.
"""

import itertools
import math

import numpy as np
import torch
from torch import nn

from examples.command import (
    BLOCKS,
    GRID_MODELS,
    HEADS,
    MLP_LAYERS,
    MLP_WIDTHS,
    RESIDUALS,
    WIDTH,
    Options,
    Task,
    run,
)
from functa_store.loaders import Loader, Normalization

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
"""By the number of axes of a grid."""


class Transformer(nn.Module):
    """Cells with learned embeddings of their places, blocks, the mean over cells, then logits."""

    def __init__(self, shape: tuple[int, ...], num_classes: int, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Linear(shape[-1], WIDTH)
        self.places = nn.Parameter(0.02 * torch.randn(math.prod(shape[:-1]), WIDTH))
        kind = {"activation": "gelu", "batch_first": True, "norm_first": True}
        blocks = [nn.TransformerEncoderLayer(WIDTH, HEADS, 2 * WIDTH, dropout, **kind) for _ in range(BLOCKS)]
        self.blocks = nn.Sequential(*blocks, nn.LayerNorm(WIDTH))
        self.logits = nn.Linear(WIDTH, num_classes)

    def forward(self, modulations: torch.Tensor) -> torch.Tensor:
        """Logits of each class; modulations are (batch, *cells, channel)."""
        cells = self.embedding(modulations.flatten(1, -2)) + self.places
        return self.logits(self.blocks(cells).mean(dim=1))


class Residual(nn.Module):
    """Two convolutions of 3 cells an axis, either after batch normalisation and SiLU, added to what they see."""

    def __init__(self, width: int, out: int, axes: int, stride: int, dropout: float) -> None:
        super().__init__()
        convolution, norm = CONVOLUTIONS[axes], NORMS[axes]
        self.inner = nn.Sequential(
            norm(width), nn.SiLU(), convolution(width, out, 3, stride, padding=1),
            norm(out), nn.SiLU(), nn.Dropout(dropout), convolution(out, out, 3, padding=1),
        )  # fmt: skip
        self.skip = nn.Identity() if width == out else convolution(width, out, 1, stride)

    def forward(self, cells: torch.Tensor) -> torch.Tensor:
        """(batch, channel, *cells), with a stride fewer cells."""
        return self.inner(cells) + self.skip(cells)


class Convolutions(nn.Module):
    """Residual blocks, half of them on every second cell with twice the channels, the mean over cells, then logits."""

    def __init__(self, shape: tuple[int, ...], num_classes: int, dropout: float) -> None:
        super().__init__()
        axes = len(shape) - 1
        blocks = [Residual(a, b, axes, stride, dropout) for a, b, stride in RESIDUALS]
        stem = CONVOLUTIONS[axes](shape[-1], WIDTH, 3, padding=1)
        self.blocks = nn.Sequential(stem, *blocks, NORMS[axes](2 * WIDTH), nn.SiLU())
        self.logits = nn.Linear(2 * WIDTH, num_classes)

    def forward(self, modulations: torch.Tensor) -> torch.Tensor:
        """Logits of each class; modulations are (batch, *cells, channel)."""
        return self.logits(self.blocks(modulations.movedim(-1, 1)).flatten(2).mean(dim=2))


def make_classifier(shape: tuple[int, ...], num_classes: int, options: Options) -> nn.Module:
    """A classifier of modulations of a shape: layers of equal width with SiLU and dropout, or a model of grids."""
    if options.model in GRID_MODELS:
        kind = Transformer if options.model == "transformer" else Convolutions
        return kind(shape, num_classes, options.dropout)
    sizes = (math.prod(shape), *[MLP_WIDTHS[options.model]] * MLP_LAYERS)
    layers = [(nn.Linear(a, b), nn.SiLU(), nn.Dropout(options.dropout)) for a, b in itertools.pairwise(sizes)]
    return nn.Sequential(*itertools.chain(*layers), nn.Linear(sizes[-1], num_classes))


def classify(task: Task, options: Options) -> tuple[float, int]:
    """Train a classifier, and return its accuracy on the held-out examples and its number of parameters."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    functaset, flatten = task.functaset, options.model not in GRID_MODELS
    shared = {"labels": (), "normalize": Normalization.of_split(functaset, "train"), "flatten": flatten}
    train = Loader(
        functaset, options.batch_size, index=task.train, seed=options.seed,
        drop_last=True, num_epochs=options.num_epochs, **shared,
    )  # fmt: skip
    held_out = Loader(functaset, options.batch_size, index=task.held_out, shuffle="none", **shared)

    torch.manual_seed(options.seed)
    classes, mixing = torch.as_tensor(task.classes), np.random.default_rng(options.seed)
    model = make_classifier(functaset.modulations.shape[1:], task.num_classes, options).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), options.learning_rate, weight_decay=options.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, len(train))
    for batch in train.to_torch():  # one of each example and its augmentations in every epoch, another one each time
        modulations, targets = batch["modulations"].to(device), classes[batch["index"]].to(device)
        share = mixing.beta(options.mixup, options.mixup) if options.mixup else 1.0
        logits = model(share * modulations + (1 - share) * modulations.flip(0))
        losses = (nn.functional.cross_entropy(logits, each) for each in (targets, targets.flip(0)))
        loss = share * next(losses) + (1 - share) * next(losses)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()

    model.eval()
    right = 0
    with torch.no_grad():
        for batch in held_out.to_torch():
            told = model(batch["modulations"].to(device)).argmax(dim=1).cpu()
            right += int((told == classes[batch["index"]]).sum())
    return right / held_out.num_examples, sum(parameter.numel() for parameter in model.parameters())


if __name__ == "__main__":
    run(classify)
