"""How is a classifier trained on modulations in PyTorch?

    python -m examples.classify_torch                                       # handwritten digits, converted on the spot
    python -m examples.classify_torch --store faces.functa --label Smiling  # any functaset with a label of classes

Learns on the split "train" and reports the share of held-out examples that it classifies right, beside logistic
regression on the same modulations and the most frequent class.
"""

import argparse
from collections.abc import Sequence

import torch
from torch import nn

import functa_store
from examples.baselines import baseline_accuracies, show
from examples.digits import digits_functaset
from functa_store.loaders import Loader, Normalization


def make_classifier(modulation_size: int, num_classes: int) -> nn.Module:
    """Two layers with a ReLU and dropout between them."""
    return nn.Sequential(nn.Linear(modulation_size, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, num_classes))


def classify(functaset: functa_store.Functaset, label: str, *, num_epochs: int = 40, batch_size: int = 64) -> float:
    """Train a classifier, and return its accuracy on the held-out examples."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    options = {"labels": [label], "normalize": Normalization.of_split(functaset, "train")}
    train = Loader(functaset, batch_size, split="train", drop_last=True, num_epochs=num_epochs, **options)
    held_out = Loader(functaset, batch_size, split="test", shuffle="none", **options)

    torch.manual_seed(0)
    num_classes = int(functaset.labels[label][:].max()) + 1
    model = make_classifier(functaset.modulations.shape[1], num_classes).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, num_epochs * len(train))
    for batch in train.to_torch():
        loss = nn.functional.cross_entropy(
            model(batch["modulations"].to(device)), batch["labels"][label].long().to(device)
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()

    model.eval()
    right = 0
    with torch.no_grad():
        for batch in held_out.to_torch():
            chosen = model(batch["modulations"].to(device)).argmax(dim=1).cpu()
            right += int((chosen == batch["labels"][label]).sum())
    return right / held_out.num_examples


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Run the example.

    Returns:
        Accuracy on the held-out examples, by method.
    """
    parser = argparse.ArgumentParser(description="Classify modulations in PyTorch.")
    parser.add_argument("--store", help="a functaset (default: handwritten digits, converted on the spot)")
    parser.add_argument("--label", default="digit", help="its label to learn (default: digit)")
    args = parser.parse_args(argv)
    functaset = functa_store.open(args.store) if args.store else digits_functaset()
    accuracies = {"this classifier": classify(functaset, args.label), **baseline_accuracies(functaset, args.label)}
    show(accuracies)
    return accuracies


if __name__ == "__main__":
    main()
