"""Rows read from a functaset."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.formats.arrays import STORE, write_store
from benchmarks.formats.peer import Batches, Peer, each

BLOCK_BYTES, BLOCKS_MIXED = 2**20, 64
"""What a block shuffle reads at once, and how much of it is mixed."""


def _open_inside(folder: Path) -> Batches:
    from functa_store.store.reading.reader import StoreReader

    rows: Any = StoreReader(folder / STORE)._open_modulations()
    return each(rows.__getitem__)


def _open_public(folder: Path) -> Batches:
    import functa_store

    return each(functa_store.open(folder / STORE).modulations.__getitem__)


def open_loader(blocks: bool) -> Callable[[Path], Batches]:
    """Ready batches of a `Loader`, which draws its order itself."""

    def opened(folder: Path) -> Batches:
        import functa_store
        from functa_store.loaders import BlockShuffle, Loader

        functaset = functa_store.open(folder / STORE)
        size = BLOCK_BYTES // functaset.store.bytes_per_example

        def batches(order: np.ndarray) -> Iterator[np.ndarray]:
            shuffle = BlockShuffle(size=size, mixed=BLOCKS_MIXED) if blocks else "full"
            loader = Loader(
                functaset, order.shape[1], shuffle=shuffle, seed=int(order[0, 0]), normalize=False, labels=()
            )
            return (batch["modulations"] for batch in loader)

        return batches

    return opened


OURS = (
    Peer(
        name="functa-store",
        module="functa_store",
        how="`functa_store.open(path).modulations[indices]`",
        write=write_store,
        open=_open_public,
    ),
    Peer(
        name="functa-store, inside",
        module="functa_store",
        how="the same without the checks of indices; no public way",
        write=write_store,
        open=_open_inside,
    ),
    Peer(
        name="functa-store, loader",
        module="functa_store",
        how='`Loader(functaset, batch, shuffle="full", normalize=False)`',
        write=write_store,
        open=open_loader(blocks=False),
        shuffles="all rows",
    ),
    Peer(
        name="functa-store, loader of blocks",
        module="functa_store",
        how="the same with `BlockShuffle`, 64 blocks of 1 MB mixed",
        write=write_store,
        open=open_loader(blocks=True),
        shuffles="a buffer",
    ),
)
