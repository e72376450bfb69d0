"""Map-style data sets as sources: values, classes, splits and what is refused."""

import io

import numpy as np
import pytest
from PIL import Image

import functa_store
from functa_store.progress import Note

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), np.uint8)


class Pets:
    """As torchvision's: pictures, class numbers, and names of classes."""

    classes = ["cat", "dog"]  # noqa: RUF012

    def __init__(self, count=20, change=lambda image: image, target=lambda k: k % 2):
        self.count, self.change, self.target = count, change, target

    def __len__(self):
        return self.count

    def __getitem__(self, k):
        if k >= self.count:
            raise IndexError(k)
        return self.change(Image.fromarray(PIXELS[k])), self.target(k)


class Some:
    """As torch.utils.data.Subset."""

    def __init__(self, dataset, indices):
        self.dataset, self.indices = dataset, indices

    def __len__(self):
        return len(self.indices)

    def __getitem__(self, k):
        return self.dataset[self.indices[k]]


def test_pictures_become_bytes_and_targets_classes():
    source = functa_store.from_torch(Pets())
    assert source.ids[:2] == ["0", "1"]
    assert np.array_equal([source.read(k) for k in range(20)], PIXELS)
    assert source.features.channels == ("red", "green", "blue")
    assert source.features.scale == 1 / 255
    assert source.labels["class"].names == ("cat", "dog")
    assert source.labels["class"].values.tolist() == [0, 1] * 10
    assert np.flatnonzero(source.split == "test").tolist() == [9, 19]
    assert source.provenance["archive"] == "Pets"


def test_splits_are_the_names_of_data_sets():
    parts = {"train": Pets(12), "val": Some(Pets(), range(12, 16)), "test": Some(Pets(), range(16, 20))}
    source = functa_store.from_torch(parts)
    assert source.split.tolist() == ["train"] * 12 + ["validation"] * 4 + ["test"] * 4
    assert (source.ids[0], source.ids[12], source.ids[19]) == ("train/0", "val/0", "test/3")
    assert np.array_equal(source.read(17), PIXELS[17])
    assert source.labels["class"].names == ("cat", "dog")
    assert source.provenance["split"] == "published by names of data sets (test, train, val)"
    with pytest.raises(functa_store.ConfigError, match="found the split 'mine', expected train, validation or test"):
        functa_store.from_torch({"train": Pets(), "mine": Pets()})


def test_tensors_have_channels_first_and_floats_lie_in_0_to_1():
    torch = pytest.importorskip("torch")

    def to_tensor(image):
        return torch.from_numpy(np.asarray(image).transpose(2, 0, 1).copy()).float() / 255

    source = functa_store.from_torch(Pets(change=to_tensor))
    np.testing.assert_allclose(source.read(3), PIXELS[3] / 255, atol=1e-6)
    assert source.read(3).shape == (8, 8, 3)
    assert source.features.scale == 1.0
    with pytest.raises(functa_store.TooManyRejectsError, match=r"goes from -2 to .*leave a Normalize out"):
        functa_store.from_torch(Pets(change=lambda image: (to_tensor(image) - 0.5) / 0.25))
    source = functa_store.from_torch(Pets(change=lambda image: (to_tensor(image) - 0.5) / 0.25), value_range=(-2, 2))
    np.testing.assert_allclose(source.read(3), PIXELS[3] / 255, atol=1e-6)
    uint8 = functa_store.from_torch(Pets(change=lambda image: (to_tensor(image) * 255).round().to(torch.uint8)))
    assert np.array_equal(uint8.read(3), PIXELS[3])
    dataset = torch.utils.data.TensorDataset(torch.rand(10, 1, 4, 4), torch.arange(10))
    assert functa_store.from_torch(dataset).labels["class"].values.tolist() == list(range(10))


def test_arrays_have_channels_last_unless_they_cannot_be():
    source = functa_store.from_torch(Pets(change=np.asarray))
    assert np.array_equal(source.read(2), PIXELS[2])
    with pytest.raises(functa_store.ConfigError, match=r"shape \(3, 8, 8\), of which the last axis does not look like"):
        functa_store.from_torch(Pets(change=lambda image: np.asarray(image).transpose(2, 0, 1)))
    source = functa_store.from_torch(
        Pets(change=lambda image: np.asarray(image).transpose(2, 0, 1)), channels_axis="first"
    )
    assert np.array_equal(source.read(2), PIXELS[2])
    grey = functa_store.from_torch([np.full((4, 6), k, np.uint8) for k in range(10)])
    assert (grey.domain.resolution, grey.features.channels, grey.labels) == ((4, 6), ("grey",), {})
    signals = functa_store.from_torch([(np.linspace(0, 1, 16), k) for k in range(10)])
    assert signals.domain.resolution == (16,)


def test_pictures_are_cut_and_resized_as_by_the_converter_of_images():
    from converters.images.image_files import ImageOptions, read_image
    from tests.converters.conftest import encode_image

    files = [encode_image(seed, (30, 20)) for seed in range(3)]
    pictures = [Image.open(io.BytesIO(data)) for data in files]
    source = functa_store.from_torch(pictures, resolution=8, crop=0.8)
    expected = read_image(files[1], ImageOptions(resolution=8, crop=0.8))
    assert np.array_equal(source.read(1), expected)
    with pytest.raises(functa_store.ConfigError, match="pictures of 30 x 20 are not square; say resolution="):
        functa_store.from_torch(pictures)
    grey = functa_store.from_torch(pictures, resolution=8, mode="grey")
    assert np.array_equal(grey.read(1), read_image(files[1], ImageOptions(resolution=8, mode="grey")))


def test_dicts_are_taken_by_the_key_of_the_picture():
    examples = [{"pixels": Image.fromarray(PIXELS[k]), "age": k / 2, "name": "ab"[k % 2]} for k in range(6)]
    source = functa_store.from_torch(examples)
    assert np.array_equal(source.read(4), PIXELS[4])
    assert source.labels["age"].values.tolist() == [0, 0.5, 1, 1.5, 2, 2.5]
    assert source.labels["name"].names == ("a", "b")
    both = [{**example, "mask": Image.new("L", (8, 8))} for example in examples]
    with pytest.raises(functa_store.ConfigError, match=r"pixels \(Image\).*mask \(Image\); name the one"):
        functa_store.from_torch(both)
    assert functa_store.from_torch(both, column="mask").features.channels == ("grey",)


def test_targets_that_are_no_labels_are_said_to_be_none():
    told = []
    source = functa_store.from_torch(Pets(target=lambda k: Image.new("L", (8, 8))), report=told.append)
    assert source.labels == {}
    assert any("'class' is no label" in event.message for event in told if isinstance(event, Note))
    several = functa_store.from_torch(Pets(target=lambda k: np.array([k, 2 * k])))
    assert several.labels["class_1"].values.tolist() == [2 * k for k in range(20)]
    unknown = Pets(target=lambda k: -1 if k > 15 else 0)
    assert functa_store.from_torch(unknown).labels["class"].names == ("cat", "dog", "(none)")


def test_random_transforms_are_refused():
    random = np.random.default_rng(0)

    def flip(image):
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if random.random() < 0.5 else image

    with pytest.raises(functa_store.ArchiveError, match="differs when it is read again, as with a transform"):
        functa_store.from_torch(Pets(change=flip))


def test_what_a_data_set_raises_is_a_reject():
    def fails_at_7(image):
        if np.array_equal(np.asarray(image), PIXELS[7]):
            raise RuntimeError("the disk is gone")
        return image

    with pytest.raises(functa_store.TooManyRejectsError, match="the disk is gone"):
        functa_store.from_torch(Pets(change=fails_at_7))
    source = functa_store.from_torch(Pets(change=fails_at_7), max_rejects=0.1)
    assert [(reject.member, "the disk is gone" in reject.reason) for reject in source.rejects] == [("7", True)]
    assert source.ids[7] == "8"
    assert source.labels["class"].values.tolist() == [0, 1, 0, 1, 0, 1, 0, *[0, 1] * 6]


def test_another_data_set_has_another_digest():
    first, again = functa_store.from_torch(Pets()), functa_store.from_torch(Pets())
    other = functa_store.from_torch(Pets(change=lambda image: image.rotate(90)))
    assert first.provenance == again.provenance
    assert first.provenance["sha256"] != other.provenance["sha256"]


def test_what_is_no_map_style_data_set_is_named():
    for value, advice in (("x.zip", "functa convert"), (iter([1]), "examples by number"), (PIXELS, "ArraySource")):
        with pytest.raises(functa_store.ArchiveError, match=advice):
            functa_store.from_torch(value)
    with pytest.raises(functa_store.ArchiveError, match="no examples; it is empty"):
        functa_store.from_torch(Pets(0))
    with pytest.raises(functa_store.ArchiveError, match="is a source already"):
        functa_store.from_torch(functa_store.from_torch(Pets()))


class Joined:
    """As torch.utils.data.ConcatDataset."""

    def __init__(self, *datasets):
        self.datasets = list(datasets)

    def __len__(self):
        return sum(map(len, self.datasets))

    def __getitem__(self, k):
        for dataset in self.datasets:
            if k < len(dataset):
                return dataset[k]
            k -= len(dataset)
        raise IndexError(k)


def test_joined_data_sets_have_the_names_of_classes_of_their_parts():
    """The same number of two data sets must be the same class."""
    dogs_first = Pets(10)
    dogs_first.classes = ["dog", "cat"]
    for joined in (Joined(Pets(10), Pets(10)), Joined(Some(Pets(), range(10)), Pets(10)), Some(Joined(Pets()), [0, 1])):
        assert functa_store.from_torch(joined).labels["class"].names == ("cat", "dog")
    with pytest.raises(functa_store.ArchiveError, match="classes of its data sets are called differently"):
        functa_store.from_torch(Joined(Pets(10), dogs_first))
    named = functa_store.from_torch(Joined(Pets(10), dogs_first), classes=["a", "b"])
    assert named.labels["class"].names == ("a", "b")


def test_pictures_of_another_size_are_rejects_unless_all_are_resized():
    def double_5(image):
        is_fifth = np.array_equal(np.asarray(image), PIXELS[5])
        return image.resize((16, 16)) if is_fifth else image

    source = functa_store.from_torch(Pets(change=double_5), max_rejects=0.1)
    assert [(reject.member, "is 16 x 16, expected 8 x 8" in reject.reason) for reject in source.rejects] == [
        ("5", True)
    ]
    assert functa_store.from_torch(Pets(change=double_5), resolution=8).rejects == []


def test_colours_are_not_lost_to_a_first_picture_that_is_grey():
    pictures = [Image.fromarray(PIXELS[0]).convert("L"), *map(Image.fromarray, PIXELS[1:])]
    with pytest.raises(functa_store.TooManyRejectsError, match="is RGB, but the first picture is grey; say mode="):
        functa_store.from_torch(pictures)
    source = functa_store.from_torch(pictures, mode="rgb")
    assert np.array_equal(source.read(1), PIXELS[1])
    assert functa_store.from_torch(pictures, mode="grey").features.channels == ("grey",)
    assert functa_store.from_torch(pictures[::-1]).features.channels == ("red", "green", "blue")


@pytest.mark.parametrize("is_pair", [True, False])
def test_a_first_example_that_cannot_be_read_is_a_reject(is_pair):
    class Torn:
        def __len__(self):
            return 20

        def __getitem__(self, k):
            if k == 0:
                raise OSError("the disk is gone")
            return (Image.fromarray(PIXELS[k]), k % 2) if is_pair else Image.fromarray(PIXELS[k])

    source = functa_store.from_torch(Torn(), max_rejects=0.1)
    assert [reject.member for reject in source.rejects] == ["0"]
    assert np.array_equal(source.read(0), PIXELS[1])
    with pytest.raises(functa_store.ArchiveError, match=r"none of the first examples can be learned.*NoneType"):
        functa_store.from_torch([None] * 3)


def test_a_target_in_an_array_of_one_is_a_class():
    """MedMNIST gives numpy.array([number]); some give floats."""
    for target in (lambda k: np.array([k % 2]), lambda k: np.float32(k % 2), lambda k: np.array([k % 2], np.float32)):
        label = functa_store.from_torch(Pets(target=target)).labels["class"]
        assert label.names == ("cat", "dog")
        assert label.values.tolist() == [0, 1] * 10
    with pytest.raises(functa_store.ArchiveError, match="holds float64, but its classes have names"):
        functa_store.from_torch(Pets(target=lambda k: k / 2))


def test_a_share_is_held_out_where_train_is_all_there_is():
    source = functa_store.from_torch({"train": Pets()}, holdout=0.25)
    assert np.flatnonzero(source.split == "test").tolist() == [3, 7, 11, 15, 19]
    assert source.ids[0] == "train/0"
    assert source.provenance["split"] == "a share of 0.25 held out, evenly"
    with pytest.raises(functa_store.ConfigError, match="leave out holdout"):
        functa_store.from_torch({"train": Pets(), "test": Pets()}, holdout=0.25)


def test_a_split_without_examples_says_nothing_of_the_others():
    with pytest.raises(functa_store.ArchiveError, match="none of 20 examples is in the split 'train'"):
        functa_store.from_torch({"train": Pets(0), "test": Pets()})
    source = functa_store.from_torch({"val": Pets(0), "train": Pets()})
    assert source.labels["class"].names == ("cat", "dog")


def test_few_examples_are_read_more_often():
    """Of two that are turned at random, three readings are the same once in sixteen times."""
    random = np.random.default_rng(0)
    for _ in range(50):
        with pytest.raises(functa_store.ArchiveError, match="differs when it is read again"):
            functa_store.from_torch(Pets(2, change=lambda image: image.rotate(180 * int(random.integers(2)))))


@pytest.mark.slow  # imports torch
def test_streams_and_types_of_torch_alone():
    torch = pytest.importorskip("torch")

    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter([])

        def __len__(self):
            return 3

    for stream in (Stream(), torch.utils.data.ChainDataset([Stream()])):
        with pytest.raises(functa_store.ArchiveError, match=r"it has no examples by number; pass .*map-style one"):
            functa_store.from_torch(stream)
    halves = [torch.full((3, 4, 4), k / 16).to(torch.bfloat16) for k in range(16)]
    source = functa_store.from_torch(halves)
    assert (source.read(5).dtype, source.read(5).max(), source.read(5).min()) == (np.float32, 5 / 16, 5 / 16)


@pytest.mark.slow
def test_a_functaset_is_repaired_by_the_same_data_set_alone(tmp_path):
    network = functa_store.NetworkConfig(width=8, depth=2, modulation_dim=4)
    outer, fit = functa_store.OuterLoopConfig(num_steps=2), functa_store.FitConfig(num_steps=2, tuning_steps=0)
    config = functa_store.ConvertConfig(network=network, outer=outer, fit=fit)
    functa_store.convert(functa_store.from_torch(Pets()), tmp_path / "pets.functa", config)
    functaset = functa_store.open(tmp_path / "pets.functa")
    assert functaset.store.label_names["class"] == ("cat", "dog")
    assert functa_store.repair(functa_store.from_torch(Pets()), tmp_path / "pets.functa") == []
    other = functa_store.from_torch(Pets(change=lambda image: image.rotate(90)))
    with pytest.raises(functa_store.StoreMismatchError, match="sha256"):
        functa_store.repair(other, tmp_path / "pets.functa")
