"""What does a person want to know first about a functaset?"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from functa_store.decode.functaset import Functaset


def summary(functaset: "Functaset") -> list[str]:
    """A few short phrases."""
    store = functaset.store
    sizes = zip(store.domain.axes, store.domain.resolution, strict=True)
    phrases = [
        store.path,
        f"{len(store)} examples" if store.complete else f"{len(store)} of {store.num_total} examples",
        f"{' x '.join(f'{axis} {n}' for axis, n in sizes)} x {len(store.features.channels)} channels",
        f"modulations of {store.config.network.modulation_size}",
    ]
    return phrases + [f"{name} {q.psnr_mean:.2f} dB" for name, q in store.quality.items() if q.psnr_mean]
