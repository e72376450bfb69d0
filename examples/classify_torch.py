"""Classifier on modulations, trained in PyTorch.

    python -m examples.classify_torch                                       # handwritten digits, converted on the spot
    python -m examples.classify_torch --store faces.functa --label Smiling  # any functaset with a label of classes

Learns on the split "train" and reports the share of held-out examples that it classifies right, beside logistic
regression on the same modulations and the most frequent class.
"""

import numpy as np
import torch
from torch import nn

import functa_store
from examples.command import run
from functa_store.loaders import Loader, Normalization


def make_classifier(modulation_size: int, num_classes: int) -> nn.Module:
    """Two layers with a ReLU and dropout between them."""
    return nn.Sequential(nn.Linear(modulation_size, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, num_classes))


def classify(
    functaset: functa_store.Functaset, targets: np.ndarray, *, num_epochs: int = 40, batch_size: int = 64
) -> float:
    """Train a classifier, and return its accuracy on the held-out examples.

    Args:
        functaset: Has the splits "train" and "test".
        targets: The class of each example, numbered from 0.
        num_epochs: Of training.
        batch_size: Of training, too.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    options = {"labels": (), "normalize": Normalization.of_split(functaset, "train"), "flatten": True}
    train = Loader(functaset, batch_size, split="train", drop_last=True, num_epochs=num_epochs, **options)
    held_out = Loader(functaset, batch_size, split="test", shuffle="none", **options)

    torch.manual_seed(0)
    classes = torch.as_tensor(targets)
    model = make_classifier(functaset.config.network.modulation_size, int(targets.max()) + 1).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, len(train))
    for batch in train.to_torch():
        logits = model(batch["modulations"].to(device))
        loss = nn.functional.cross_entropy(logits, classes[batch["index"]].to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()

    model.eval()
    right = 0
    with torch.no_grad():
        for batch in held_out.to_torch():
            chosen = model(batch["modulations"].to(device)).argmax(dim=1).cpu()
            right += int((chosen == classes[batch["index"]]).sum())
    return right / held_out.num_examples


if __name__ == "__main__":
    run(classify)
