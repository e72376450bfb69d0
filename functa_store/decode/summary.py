"""What does a person want to know first about a functaset?"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from functa_store.decode.functaset import Functaset
    from functa_store.store.spec import Quality


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
    return phrases + [f"{name} {', '.join(found)}" for name, q in store.quality.items() if (found := _figures(q))]


def _figures(quality: "Quality") -> list[str]:
    """PSNR, and the first metric if there is one."""
    figures = [] if quality.psnr_mean is None else [f"{quality.psnr_mean:.2f} dB"]
    return figures + [f"{name} {mean:.3g}" for name, mean in list(quality.metrics.items())[:1] if mean is not None]
