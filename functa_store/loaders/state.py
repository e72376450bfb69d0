"""Where does a loader go on, and is that place one of its own?"""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from functa_store.config import differences, from_dict
from functa_store.decode.functaset import Functaset
from functa_store.errors import ConfigError, StoreMismatchError
from functa_store.loaders.order import BlockShuffle, Shuffle
from functa_store.loaders.reading import Reading

KEYS = {"functaset", "options", "epoch", "batch"}


def describe(functaset: Functaset, reading: Reading, place: tuple[int, int]) -> dict[str, Any]:
    """The state of a loader, plain JSON; the rank is left out, since all ranks move together."""
    order = dataclasses.asdict(reading.order)
    del order["rank"]
    state = {
        "functaset": {"fingerprint": functaset.store.spec.fingerprint, "examples": len(functaset)},
        "options": order | {"examples": reading.table.fingerprint} | reading.content.options(),
        "epoch": place[0],
        "batch": place[1],
    }
    return json.loads(json.dumps(state))  # compared with one that was read from JSON, where a tuple is a list


def place_in(state: Mapping[str, Any], expected: Mapping[str, Any], num_batches: int) -> tuple[int, int]:
    """Epoch and batch at which a state goes on.

    Args:
        state: What is to be restored.
        expected: The state of the loader that it is to be restored into.
        num_batches: Batches of an epoch.

    Raises:
        StoreMismatchError: If it was taken of another functaset.
        ConfigError: If it was taken with other options, or holds no such place.
    """
    if found := "; ".join(differences(state["functaset"], expected["functaset"], "functaset")):
        raise StoreMismatchError(f"the state of another functaset: {found}; open the functaset that it was taken of")
    if found := "; ".join(differences(state["options"], expected["options"])):
        raise ConfigError(f"the state of a loader with other options: {found}; make the loader as it was then")
    epoch, batch = state["epoch"], state["batch"]
    if type(epoch) is not int or type(batch) is not int or epoch < 0 or not 0 <= batch < num_batches:
        raise ConfigError(f"no place of {num_batches} batches per epoch: epoch {epoch!r}, batch {batch!r}")
    return epoch, batch


def shuffle_in(state: Mapping[str, Any]) -> Shuffle:
    """The order that a state was taken in.

    Raises:
        ConfigError: If it is no state of a loader.
    """
    options = state["options"] if isinstance(state, Mapping) and state.keys() == KEYS else None
    found = options.get("shuffle") if isinstance(options, Mapping) else None
    if found == "full" or found == "none":
        return found
    if not isinstance(found, Mapping):
        raise ConfigError(f"not the state of a loader: expected what Loader.state() returned, got {str(state)[:200]}")
    return from_dict(BlockShuffle, found)
