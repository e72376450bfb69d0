"""What is hidden of an example, inferred under a prior over modulations: masked halves, and finer grids than were seen.

    python -m examples.infer                                                     # handwritten digits
    python -m examples.infer --store faces.functa --archive faces.zip --task half
    python -m examples.infer --store faces.functa --archive faces.zip --task coarse --prior flow
    python -m examples.infer --store chairs.functa --archive chairs.zip --mirror x

Where `Functaset.encode` takes a few steps from the zero modulation, this minimises the squared error of what was seen
plus a weight times -log p(modulation), and reports PSNR on what was hidden for both. The prior is a Gaussian or the
flow of `examples.flow`, learned on the split "train"; its weight, and whether to begin at the plain fit, is chosen on
examples of "validation", or without one on some of "train" that the prior has not seen. Examples are those of the
archive, or without one as the functaset has them. Of what is symmetric, `--mirror AXIS` takes what is seen as seen in
a mirror, too.
"""

import argparse
import itertools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax
from PIL import Image

import functa_store
from examples.digits import digits_functaset, digits_source
from examples.gaussian import Gaussian
from examples.generate import enlarged
from examples.partly_seen import (
    TASKS,
    Points,
    as_values,
    decoded,
    decoder_of,
    features_of,
    hidden_psnr,
    mirrored,
    plain_fit,
)
from functa_store.decode.pictures import solid_image, to_image
from functa_store.loaders import Normalization

WEIGHTS = (0.0, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
"""Of the prior, of which one is chosen."""

NUM_TUNING, NUM_VALIDATION = 16, 64
"""Examples that the weight is chosen on: of "train", where the prior then lacks them, and of "validation"."""

NUM_PICTURES = 6


class Prior(Protocol):
    """A distribution of modulations; `Gaussian` and `examples.flow.Flow` are such."""

    def whiten(self, modulations: jax.Array) -> jax.Array:
        """Coordinates in which normalised modulations, (..., numbers), vary alike."""
        ...

    def unwhiten(self, coordinates: jax.Array) -> jax.Array:
        """Normalised modulations, (..., numbers), of coordinates in which they vary alike."""
        ...

    def log_prob_white(self, coordinates: jax.Array) -> jax.Array:
        """Log density of such coordinates, (...)."""
        ...


class Infer(Protocol):
    """Inference under a prior."""

    def __call__(self, seen: Points, weight: float, start: np.ndarray | None = None) -> np.ndarray:
        """Modulations, as the base takes them, of what is seen of examples.

        Args:
            seen: It.
            weight: Of the prior.
            start: Modulations to begin at, such as those of the plain fit; None begins in the middle of the prior.
        """
        ...


def make_inference(
    functaset: functa_store.Functaset,
    prior: Prior,
    normalization: Normalization,
    *,
    num_steps: int = 100,
    step_size: float = 0.15,
    points_per_step: int = 128,
) -> Infer:
    """Inference under a prior: Adam on whitened coordinates.

    What is minimised is the mean squared error of the features over what is seen, in the squared span of their range,
    minus the weight times the log density per number of a modulation.

    Args:
        functaset: Whose base decodes.
        prior: Of its normalised modulations.
        normalization: Of these.
        num_steps: Of Adam, whose step size falls to zero.
        step_size: At first, in standard deviations of the prior.
        points_per_step: Seen points, drawn at random, that a step looks at.
    """
    decode, shape = decoder_of(functaset), functaset.config.network.modulation_shape
    size, span = functaset.config.network.modulation_size, functaset.features.span
    optimizer = optax.adam(optax.cosine_decay_schedule(step_size, num_steps))

    def modulations_of(coordinates: jax.Array) -> jax.Array:
        return normalization.invert(prior.unwhiten(coordinates).reshape(-1, *shape))

    @jax.jit
    def minimise(inputs: jax.Array, features: jax.Array, weight: jax.Array, start: jax.Array) -> jax.Array:
        def loss(coordinates: jax.Array, points: jax.Array) -> jax.Array:
            found = decode(modulations_of(coordinates), inputs[..., points, :])
            errors = jnp.mean((found - features[:, points]) ** 2, axis=(1, 2)) / span**2
            return jnp.sum(errors - weight * prior.log_prob_white(coordinates) / size)

        def step(state: tuple[jax.Array, Any], key: jax.Array) -> tuple[tuple[jax.Array, Any], None]:
            coordinates, moments = state
            count = features.shape[1]
            points = jax.random.choice(key, count, (min(points_per_step, count),), replace=False)
            change: Any
            change, moments = optimizer.update(jax.grad(loss)(coordinates, points), moments)
            return (coordinates + change, moments), None

        state, _ = jax.lax.scan(step, (start, optimizer.init(start)), jax.random.split(jax.random.key(0), num_steps))
        return modulations_of(state[0])

    def infer(seen: Points, weight: float, start: np.ndarray | None = None) -> np.ndarray:
        inputs = seen.positions if functaset.domain.scene is not None else functaset.inputs(seen.positions)
        coordinates = jnp.zeros((len(seen.features), size))
        if start is not None:
            coordinates = prior.whiten(jnp.asarray(normalization.apply(start)).reshape(coordinates.shape))
        return np.asarray(minimise(inputs, seen.features, np.float32(weight), coordinates))

    return infer


def run(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Run the example.

    Args:
        argv: Arguments instead of those of the process.

    Returns:
        PSNR on what was hidden of held-out examples, by method.
    """
    parser = argparse.ArgumentParser(description="Infer what is hidden of examples.")
    parser.add_argument("--store", help="a functaset (default: handwritten digits, converted on the spot)")
    parser.add_argument("--archive", help="the archive that it was converted from (default: examples as they decode)")
    parser.add_argument("--task", choices=TASKS, help="what is seen (default: half, or of scenes the first view)")
    parser.add_argument("--prior", choices=("gaussian", "flow"), default="gaussian", help="(default: gaussian)")
    parser.add_argument("--mirror", metavar="AXIS", help="examples are symmetric along this axis, such as x")
    parser.add_argument("--steps", type=int, default=100, metavar="N", help="of the inference (default: 100)")
    parser.add_argument("--points", type=int, default=128, metavar="N", help="seen at a step (default: 128)")
    parser.add_argument("--examples", type=int, default=32, metavar="N", help="held-out ones (default: 32)")
    parser.add_argument("--out", type=Path, default=Path("examples-output/infer.png"), help="sheet of pictures")
    args = parser.parse_args(argv)
    if min(args.steps, args.points, args.examples) < 1:
        parser.error("--steps, --points and --examples must be at least 1")
    try:
        functaset = functa_store.open(args.store) if args.store else digits_functaset()
        source = _source(functaset, args.archive) if args.store else digits_source()
        task = args.task or ("half" if functaset.domain.scene is None else "view")
        effort = {"num_steps": args.steps, "points_per_step": args.points}
        return compare(functaset, source, task, args.prior, args.examples, args.out, mirror=args.mirror, **effort)
    except functa_store.FunctaStoreError as error:
        parser.error(str(error))


def compare(
    functaset: functa_store.Functaset,
    source: functa_store.Source | None,
    task: str,
    prior: str,
    num_examples: int,
    out: Path,
    *,
    mirror: str | None = None,
    **options: Any,
) -> dict[str, float]:
    """Learn a prior, choose its weight and where to begin, and infer what is hidden of held-out examples.

    Args:
        functaset: Has the splits "train" and "test".
        source: Its examples; None takes them as they decode.
        task: One of `TASKS`.
        prior: "gaussian" or "flow".
        num_examples: Held-out ones.
        out: The sheet of pictures.
        mirror: The axis along which examples are symmetric; their plain fit is then made of what the mirror shows, too,
            beside that of what is seen alone. None where they are not known to be.
        **options: Of `make_inference`.

    Returns:
        PSNR on what was hidden, by method.
    """
    if (task == "view") != (functaset.domain.scene is not None):
        raise functa_store.ConfigError(f"{functaset.store.path}: the task view is for scenes, and scenes have no other")
    if mirror not in (None, *functaset.domain.axes):
        raise functa_store.ConfigError(
            f"{functaset.store.path}: found no axis {mirror!r} to mirror, expected one of {functaset.domain.axes}"
        )
    if len(functaset.domain.axes) not in (2, 3):
        raise functa_store.ConfigError(
            f"{functaset.store.path}: examples over {functaset.domain.axes} make no picture, expected two or three "
            "axes; take make_inference in a program of your own"
        )
    training, tuning, held_out = choose(functaset, num_examples)
    normalization = Normalization.of_split(functaset, "train")
    numbers = normalization.apply(functaset.modulations[training]).reshape(len(training), -1)
    infer = make_inference(functaset, _kind(prior).fit(numbers), normalization, **options)

    def known(seen: Points) -> Points:
        return seen if mirror is None else mirrored(functaset, seen, mirror)

    def starts(plain: np.ndarray) -> dict[str, np.ndarray | None]:
        return {"plain fit": plain, "middle of the prior": None}

    tried = TASKS[task](functaset, features_of(functaset, tuning, source))
    seen = known(tried.seen)
    scores = {
        (name, weight): hidden_psnr(functaset, infer(seen, weight, start), tried.hidden)
        for (name, start), weight in itertools.product(starts(plain_fit(functaset, seen)).items(), WEIGHTS)
    }
    start, weight = max(scores, key=lambda way: scores[way])
    sys.stdout.write(
        f"chosen on {len(tuning)} examples of {functaset.split[tuning[0]]}: to begin at the {start}, and a weight of "
        f"{weight:g}\n"
    )

    features = features_of(functaset, held_out, source)
    found = TASKS[task](functaset, features)
    seen = known(found.seen)
    ways = {"plain fit": plain_fit(functaset, found.seen)}
    if mirror is not None:
        ways["plain fit, mirrored"] = plain_fit(functaset, seen)
    *_, plain = ways.values()  # of all that is known
    ways[f"{prior} prior"] = infer(seen, weight, starts(plain)[start])
    results = {name: hidden_psnr(functaset, modulations, found.hidden) for name, modulations in ways.items()}
    sys.stdout.writelines(f"{name:20} {result:6.2f} dB on what was hidden\n" for name, result in results.items())
    out.parent.mkdir(parents=True, exist_ok=True)
    shown = slice(NUM_PICTURES)
    if functaset.domain.scene is None:
        places, original = functaset.domain.coords(), as_values(functaset, features[shown])
    else:  # the second view, which is hidden
        rays, original = features[shown, 1, ..., :6], features[shown, 1, ..., 6:]
        places = rays.reshape(len(rays), -1, 6)
    columns = {"original": original, "seen": as_values(functaset, found.grid[shown])}
    columns |= {name: decoded(functaset, rows[shown], places).reshape(original.shape) for name, rows in ways.items()}
    sheet(functaset, columns).save(out)
    return results


class Chosen(NamedTuple):
    """Rows of a functaset, ascending.

    Attributes:
        training: What a prior learns from, augmentations among them.
        tuning: Examples by which its weight is chosen: of the split "validation", which no base has learned from
            either, or else some of "train" that the prior does not see, nor an augmentation of them.
        held_out: Examples of "test", whose hidden parts are inferred.
    """

    training: np.ndarray
    tuning: np.ndarray
    held_out: np.ndarray


def choose(functaset: functa_store.Functaset, num_examples: int) -> Chosen:
    """Rows for a prior, its weight, and a number of held-out examples, drawn by one seed.

    Raises:
        ConfigError: If there are too few.
    """
    splits, rng = functaset.split[:], np.random.default_rng(0)
    of = functaset.augmentations["of"][:] if functaset.augmentations else np.arange(len(functaset))

    def some(split: str, count: int) -> np.ndarray:
        originals = np.flatnonzero((splits == split) & (of == np.arange(len(of))))
        return np.sort(rng.permutation(originals)[:count])

    tuning = some("validation", NUM_VALIDATION) if "validation" in splits else some("train", NUM_TUNING)
    training = np.flatnonzero((splits == "train") & ~np.isin(of, tuning))
    held_out = some("test", num_examples)
    if not len(training) or not len(held_out):
        raise functa_store.ConfigError(
            f"{functaset.store.path}: found {np.sum(splits == 'train')} training and {len(held_out)} held-out "
            f"examples, expected more than {NUM_TUNING} and at least one; take a larger functaset"
        )
    return Chosen(training, tuning, held_out)


def _kind(prior: str) -> Any:
    if prior == "gaussian":
        return Gaussian
    from examples.flow import Flow  # needs flowjax

    return Flow


def _source(functaset: functa_store.Functaset, archive: str | None) -> functa_store.Source | None:
    return None if archive is None else functa_store.reopen_archive(functaset, archive)


def sheet(functaset: functa_store.Functaset, columns: Mapping[str, np.ndarray]) -> Image.Image:
    """The first examples, in columns of values on grids, not a number where nothing was seen."""
    low, high = (0.0, 1.0) if functaset.domain.scene is not None else functaset.features.value_range
    coloured = functaset.domain.has_colours and functaset.features.num_channels in (1, 3, 4)

    def picture(values: np.ndarray) -> Image.Image:
        if values.ndim == 4:
            return solid_image(np.nan_to_num(values[..., 0], nan=low), level=(low + high) / 2)
        return to_image(values if coloured else values[..., :1], (low, high))

    return functa_store.comparison_sheet({name: enlarged(map(picture, found)) for name, found in columns.items()})


if __name__ == "__main__":
    run()
