"""A functaset as its reader sees it."""

import pickle
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest

import functa_store
from functa_store.config import ConvertConfig, NetworkConfig
from functa_store.decode.functaset import Functaset
from functa_store.domains.cells import AXIS_POINT_BYTES, CellGrid, GridPoints
from functa_store.errors import ExampleIndexError, GridError
from functa_store.sources.features import FeatureSpec
from functa_store.sources.source import Label
from functa_store.store.format.side_arrays import base_shapes
from functa_store.store.format.spec import Contents
from functa_store.store.writing.writer import StoreWriter
from tests.decode.stores import write_store

COUNT = 12
NETWORK = NetworkConfig(width=8, depth=3, w0=5.0, modulation_dim=4)


def write(path, base=None):
    rng = np.random.default_rng(0)
    shapes = base_shapes(NETWORK, 2, 3) | {"inner_loop/learning_rate": (3, 4)}
    random = {name: rng.normal(scale=0.3, size=shape).astype(np.float32) for name, shape in shapes.items()}
    contents = Contents(
        domain=CellGrid(axes=("y", "x"), resolution=(8, 6)),
        features=FeatureSpec(channels=("red", "green", "blue")),
        config=ConvertConfig(network=NETWORK, rows_per_shard=4),
        base=base or random,
        ids=[f"{i}.png" for i in range(COUNT)],
        split=np.array(["train", "test"])[np.arange(COUNT) % 2],
        labels={"kind": Label(values=np.arange(COUNT))},
    )
    with StoreWriter.resume_or_create(path, contents) as writer:
        for shard in writer.missing_shards():
            rows = rng.normal(scale=0.3, size=(len(shard), 4)).astype(np.float32)
            writer.write(shard, rows, np.full(len(shard), 0.01, np.float32))
    return functa_store.open(path)


@pytest.fixture(scope="module", name="fs")
def _fs(tmp_path_factory) -> Functaset:
    return write(tmp_path_factory.mktemp("stores") / "small.functa")


INDICES = [
    slice(0, 5),
    slice(None, None, -2),
    [3, 7, 3],
    [-1],
    np.arange(COUNT) % 3 == 0,
    np.array([11, 0]),
    slice(4, 4),
    [],
]


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_decoding_some_examples_is_decoding_all_and_choosing(fs, index):
    everything = fs.decode(slice(None), 5, clip=False)
    assert everything.shape == (COUNT, 5, 5, 3)
    assert everything.dtype == np.float32
    chosen = everything[np.asarray(index, int) if isinstance(index, list) else index]
    np.testing.assert_array_equal(fs.decode(index, 5, clip=False), chosen)


def test_a_single_index_keeps_the_axis_of_the_examples(fs):
    np.testing.assert_array_equal(fs.decode(3), fs.decode([3]))
    np.testing.assert_array_equal(fs.decode(-1), fs.decode([COUNT - 1]))
    assert fs[3].decode((2, 4)).shape == (2, 4, 3)


def test_a_region_is_a_window_of_the_whole(fs):
    whole = fs.decode([1, 2], (16, 12), clip=False)
    window = fs.decode([1, 2], (8, 6), region=((0.25, 0.75), (0.0, 0.5)), clip=False)
    np.testing.assert_allclose(window, whole[:, 4:12, 0:6], atol=1e-5)


def test_points_are_decoded_where_they_are(fs):
    grid = fs.decode([4, 0], (3, 2), clip=False)
    points = fs.decode([4, 0], coords=fs.domain.coords((3, 2)), clip=False)
    np.testing.assert_array_equal(points.reshape(grid.shape), grid)


def test_the_decoder_agrees_with_decode(fs):
    decoded = fs.decoder(fs.base, fs.modulations[:3], fs.domain.coords())
    np.testing.assert_allclose(decoded, fs.decode(slice(0, 3), clip=False).reshape(3, -1, 3), atol=1e-6)


def test_values_are_clipped_unless_asked_otherwise(fs):
    plain = fs.decode(slice(None), clip=False)
    assert plain.min() < 0
    np.testing.assert_array_equal(fs.decode(slice(None)), plain.clip(0, 1))


def test_on_a_smooth_function_the_mean_of_2x2_blocks_at_twice_the_resolution_is_the_coarse_one(tmp_path):
    """A base with known content: one sine layer, f(y, x) = 0.5 + 0.25 sin(2 pi (y + x)).

    The mean of f over the four points differs from f at their centre by h^2/32 |d2f| to leading
    order, h the coarse spacing: (2 pi)^2 * 2 * 0.25 / 32 / n^2, below 0.7 / n^2.
    """
    base = {name: np.zeros(shape, np.float32) for name, shape in base_shapes(NETWORK, 2, 3).items()}
    base["sine_0/kernel"][:, 0] = 2 * np.pi / NETWORK.w0
    # sin(w0 h) of a small h is w0 h: the second sine layer passes its input on.
    base["sine_1/kernel"][0, 0] = 1e-3 / NETWORK.w0
    base["linear/kernel"][0, :] = 0.25 / 1e-3
    base["inner_loop/learning_rate"] = np.ones((3, 4), np.float32)
    smooth = write(tmp_path / "smooth.functa", base)
    for n in (8, 16, 32):
        coarse, fine = smooth.decode([0], n)[0], smooth.decode([0], 2 * n)[0]
        y, x = (smooth.domain.coords(n)[:, i].reshape(n, n, 1) for i in (0, 1))
        np.testing.assert_allclose(coarse - 0.5, 0.25 * np.sin(2 * np.pi * (y + x)).repeat(3, -1), atol=1e-4)
        blocks = fine.reshape(n, 2, n, 2, 3).mean(axis=(1, 3))
        difference = np.abs(blocks - coarse).max()
        assert 0.1 / n**2 < difference < 0.7 / n**2


def test_columns_are_lazy_and_complete(fs):
    assert len(fs) == COUNT
    assert fs.modulations.shape == (COUNT, 4)
    np.testing.assert_array_equal(fs.labels["kind"][[2, 5]], [2, 5])
    np.testing.assert_allclose(fs.psnr, 20, rtol=1e-6)
    assert np.sum(fs.split[:] == "test") == 6


def test_examples_are_records(fs):
    examples = list(fs)
    assert [example.id for example in examples] == [f"{i}.png" for i in range(COUNT)]
    assert examples[3].split == "test"
    assert examples[3].labels == {"kind": 3}
    np.testing.assert_array_equal(examples[3].modulation, fs.modulations[3])
    assert examples[3].psnr == pytest.approx(20)


def test_a_functaset_introduces_itself(fs):
    assert "12 examples" in repr(fs)
    assert "data:image/png;base64," in fs._repr_html_()


def test_a_grid_of_ones_own_is_decoded_at_its_points(fs):
    grid = GridPoints([np.array([0.9, 0.1, 0.2]), np.array([0.3, 0.4])])
    decoded = fs.decode([4, 0], coords=grid, clip=False)
    assert decoded.shape == (2, 3, 2, 3)
    np.testing.assert_allclose(
        decoded.reshape(2, 6, 3), fs.decode([4, 0], coords=grid[np.arange(6)], clip=False), atol=1e-6
    )


def test_scattered_points_each_have_an_example(fs):
    examples, coords = [3, -1, 3, 0], np.random.default_rng(0).random((4, 2))
    decoded = fs.decode_scattered(examples, coords, clip=False)
    for i, (example, point) in enumerate(zip(examples, coords, strict=True)):
        np.testing.assert_allclose(decoded[i], fs.decode(example, coords=point[None], clip=False)[0, 0], atol=1e-6)
    np.testing.assert_array_equal(fs.decode_scattered(examples, coords), decoded.clip(0, 1))
    with pytest.raises(GridError, match="one point for each example"):
        fs.decode_scattered([1, 2], coords)


def test_what_does_not_fit_into_memory_is_refused_before_work_starts(fs, monkeypatch):
    features_and_axes = 5 * 48 * 3 * 4 + (8 + 6) * AXIS_POINT_BYTES
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=features_and_axes))
    fs.decode(slice(0, 5))
    before = fs.tiled_decoder.points_asked
    for call in (
        lambda: fs.decode(slice(0, 6)),
        lambda: fs.decode(np.ones(COUNT, bool)),
        lambda: fs.decode(0, 10**9),
        lambda: fs.decode(0, coords=np.zeros((255, 2), np.float32)),
        lambda: fs.decode_scattered([0] * 255, np.zeros((255, 2), np.float32)),
    ):
        with pytest.raises(GridError, match=r"functa export"):
            call()
    assert fs.tiled_decoder.points_asked == before


@pytest.mark.slow
def test_a_huge_grid_needs_little_more_memory_than_its_result(fs):
    """Its coordinates as an array would take two thirds of the result's memory, their indices four thirds."""
    fs.decode(0, 600)
    tracemalloc.start()
    result = fs.decode(0, 4800)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert result.nbytes > fs.cache.limit
    assert peak < result.nbytes + 10 * 2**20


def test_many_scattered_points_need_little_more_memory_than_their_features(fs):
    examples = np.random.default_rng(0).integers(0, COUNT, 2**19)
    coords = np.full((2**19, 2), 0.5, np.float32)
    fs.decode_scattered(examples[:9], coords[:9])
    tracemalloc.start()
    result = fs.decode_scattered(examples, coords)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < result.nbytes + examples.nbytes + 6 * 2**20


def test_a_long_axis_needs_little_memory(tmp_path):
    """One of float64 while it is made, one of float32 while it is evaluated, whether the grid is kept or not."""
    domain = CellGrid(axes=("t",), resolution=(2**21,))
    write_store(tmp_path / "sound.functa", count=1, domain=domain, channels=("pressure",))
    functaset = functa_store.open(tmp_path / "sound.functa")
    functaset.decode(0, 2000)
    tracemalloc.start()
    functaset.decode(0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**21 * AXIS_POINT_BYTES + 6 * 2**20


def test_an_absurd_resolution_is_refused_even_of_no_example(fs):
    with pytest.raises(GridError, match="resolution"):
        fs.decode([], 10**9)


def test_a_functaset_travels_without_what_it_keeps(fs, tmp_path):
    write(tmp_path / "small.functa")
    functaset = functa_store.open(tmp_path / "small.functa", cache_bytes=10**6)
    expected = functaset.decode(slice(None))
    again = pickle.loads(pickle.dumps(functaset))
    assert (again.cache.limit, again.cache.num_bytes) == (10**6, 0)
    np.testing.assert_array_equal(again.decode(slice(None)), expected)


@pytest.mark.parametrize("index", [COUNT, -COUNT - 1, [0, 99]])
def test_an_example_that_is_not_there_is_named(fs, index):
    with pytest.raises(ExampleIndexError, match="does not exist"):
        fs.decode(index)
    if isinstance(index, int):
        with pytest.raises(ExampleIndexError, match="does not exist"):
            fs[index]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"resolution": 0}, "resolution"),
        ({"region": ((0.0, 2.0), (0.0, 1.0))}, "region"),
        ({"coords": [[0.0, 0.0, 0.0]]}, r"shape \(points, 2\)"),
        ({"coords": [[0.0, np.nan]]}, "finite"),
        ({"coords": [[0.0, 0.0]], "resolution": 4}, "not both"),
        ({"coords": GridPoints([np.zeros(2)])}, "1 axes"),
    ],
)
def test_where_to_decode_must_fit_the_domain(fs, options, words):
    with pytest.raises(GridError, match=words):
        fs.decode(0, **options)
