"""A source that is altered differs from the other one in what it says, and in nothing else."""

import numpy as np

from benchmarks.altered_sources import RandomSplit, Strided, TrainingPart
from functa_store.domains.sphere import SphereGrid
from functa_store.sources.array_source import ArraySource
from functa_store.sources.features import FeatureSpec
from functa_store.sources.splits import hold_out_every

VALUES = np.arange(40.0 * 5 * 8, dtype=np.float32).reshape(40, 5, 8, 1) / 1600
FIELDS = ArraySource(
    VALUES,
    domain=SphereGrid.around(np.linspace(80.0, -80, 5), np.arange(0, 360, 45.0), area_weighting=True),
    features=FeatureSpec(channels=("t",)),
    split=hold_out_every(40, 4),
    labels={"place": np.arange(40)},
)


def test_a_training_part_has_the_training_examples_alone_and_holds_out_their_last_tenth():
    part = TrainingPart(FIELDS)
    training = np.flatnonzero(FIELDS.split == "train")
    assert part.ids == [FIELDS.ids[int(k)] for k in training]
    assert part.split.tolist() == ["train"] * 27 + ["test"] * 3
    assert part.labels == {}
    np.testing.assert_array_equal(part.read(29), VALUES[training[29]])


def test_a_random_split_holds_out_a_tenth_and_leaves_all_else():
    drawn = RandomSplit(FIELDS)
    held_out = np.flatnonzero(drawn.split == "test")
    assert len(held_out) == 4
    assert np.diff(held_out).max() > 1, "not the last ones"
    assert (drawn.ids, drawn.labels, drawn.domain) == (FIELDS.ids, FIELDS.labels, FIELDS.domain)
    np.testing.assert_array_equal(drawn.read(7), VALUES[7])


def test_strides_leave_values_at_their_places():
    coarse = Strided(FIELDS, 2)
    assert isinstance(coarse.domain, SphereGrid)
    assert coarse.domain.resolution == (3, 4)
    assert coarse.domain.area_weighting
    np.testing.assert_allclose(coarse.domain.latitudes, [80, 0, -80])
    np.testing.assert_allclose(coarse.domain.longitudes, [0, 90, 180, 270])
    np.testing.assert_array_equal(coarse.read(3), VALUES[3][::2, ::2])
    assert (coarse.ids, coarse.split.tolist()) == (FIELDS.ids, FIELDS.split.tolist())
