"""A functaset grows by the new examples of an archive, and stays what it was until they are all there."""

import contextlib
import json
import shutil

import numpy as np
import pytest
import tensorstore as ts
import xarray as xr
import zarr
from PIL import Image

import functa_store
from functa_store.cli.main import main
from functa_store.errors import ArchiveError, StoreExistsError, StoreFormatError, StoreMismatchError
from functa_store.loaders import Loader
from functa_store.progress import Note
from functa_store.sources.array_source import ArraySource
from functa_store.sources.features import FeatureSpec
from functa_store.sources.source import Label
from functa_store.store.format.spec import ROOT
from functa_store.store.reading.reader import StoreReader
from functa_store.store.storage.objects import open_objects
from tests.conversion.fitted import blends, fitted

PICTURES = blends(11)
SPEC = FeatureSpec(channels=("red", "green", "blue"), scale=1 / 255)
NEW = ("owl", "dog")


def source(rows, classes=("cat", "dog"), **changes):
    """Some of the pictures, by the names that they always have."""
    numbers = np.array([row % 2 for row in rows])
    labels = {"animal": Label(values=numbers if classes[0] == "cat" else 1 - numbers, names=classes)}
    options = {"features": SPEC, "labels": labels, "ids": [f"{row}.png" for row in rows]}
    return ArraySource(PICTURES[list(rows)], **options | changes)


@pytest.fixture(scope="module", name="plain")
def _plain(tmp_path_factory):
    """The functaset of the first five."""
    return fitted(tmp_path_factory.mktemp("stores") / "pets.functa", source(range(5)))


@pytest.fixture(name="path")
def _path(plain, tmp_path):
    shutil.copytree(plain.store.path, tmp_path / "pets.functa")
    return tmp_path / "pets.functa"


def files(path):
    return {p.relative_to(path).as_posix(): p.read_bytes() for p in path.rglob("*") if p.is_file()}


@pytest.mark.slow
def test_what_is_added_has_the_modulations_of_an_encoding_and_all_is_read_as_one(plain, path, tmp_path):
    before = files(path)
    assert functa_store.append(source(range(5, 9)), path) == 4
    assert functa_store.append(source(range(9, 11)), path) == 2
    grown = functa_store.open(path)
    assert len(grown) == 11
    assert grown.ids[:].tolist() == [f"{row}.png" for row in range(11)]
    functa_store.encode(source(range(11)), plain, tmp_path / "all.functa")
    whole = functa_store.open(tmp_path / "all.functa")
    functa_store.encode(source(range(5, 9)), plain, tmp_path / "second.functa")
    np.testing.assert_array_equal(grown.modulations[5:9], functa_store.open(tmp_path / "second.functa").modulations[:])
    np.testing.assert_allclose(grown.modulations[:], whole.modulations[:], atol=1e-6)  # fitted in other batches
    np.testing.assert_allclose(grown.mse[:], whole.mse[:], rtol=1e-5)
    np.testing.assert_array_equal(grown.labels["animal"][:], whole.labels["animal"][:])
    assert grown.spec.complete
    np.testing.assert_allclose(grown.decode([0, 7, 10]), whole.decode([0, 7, 10]), atol=1e-5)
    batches = list(Loader(grown, 4, seed=3))
    assert sorted(np.concatenate([batch["index"] for batch in batches]).tolist()) == list(range(11))
    dataset = xr.open_dataset(path, engine="functa", chunks={})
    assert dataset.sizes["example"] == 11
    np.testing.assert_array_equal(dataset.image.isel(example=9).values, grown.decode(9)[0])
    after = files(path)
    assert {key: after[key] for key in before if key != ROOT} == {key: before[key] for key in before if key != ROOT}
    assert not [key for key in after if key.endswith((".log", ".part")) or ".work/" in key]
    assert not (tmp_path / "pets.functa.work").exists()
    assert "0001.functa" in zarr.open_group(path, mode="r")["parts"]
    functa_store.recode(path, tmp_path / "int8.functa", "int8")
    assert len(functa_store.open(tmp_path / "int8.functa")) == 11
    functa_store.merge([path], tmp_path / "merged.functa")
    np.testing.assert_array_equal(functa_store.open(tmp_path / "merged.functa").modulations[:], grown.modulations[:])
    moved = path.rename(tmp_path / "moved.functa")
    assert len(functa_store.open(moved)) == 11


def test_examples_that_are_there_are_left_out_by_their_ids(path):
    notes = []
    assert functa_store.append(source(range(7)), path, report=notes.append) == 2
    messages = [note.message for note in notes if isinstance(note, Note)]
    assert f"{path}: 5 of 7 examples are there already, by their ids" in messages
    before = files(path)
    assert functa_store.append(source(range(7)), path) == 0
    assert files(path) == before


@pytest.mark.slow
def test_another_archive_whose_examples_have_the_same_names_is_refused(path):
    """Two zips, each of 0.png, 1.png and so on: the second one is not there already."""
    before = files(path)
    others = source(range(5, 9), ids=[f"{row}.png" for row in range(3, 7)])
    with pytest.raises(
        ArchiveError, match=r"array: 2 of 4 examples .* but '[34]\.png' has other values than .* Rename"
    ):
        functa_store.append(others, path)
    assert files(path) == before
    functa_store.append(source(range(5, 9)), path)
    notes = []
    assert functa_store.append(source(range(7, 3, -1)), path, report=notes.append) == 0  # other bytes, same examples
    assert [note.message for note in notes] == [f"{path}: 4 of 4 examples are there already, by their ids"]
    with pytest.raises(ArchiveError, match=r"'[56]\.png' has other values"):
        functa_store.append(source(range(2), ids=["5.png", "6.png"]), path)


@pytest.mark.slow
def test_verify_and_info_know_all_parts(path, capsys):
    functa_store.append(source(range(5, 9)), path)
    verdict = functa_store.verify(path)
    assert (verdict.complete, verdict.examples, verdict.total, verdict.damaged, verdict.foreign) == (True, 9, 9, {}, [])
    assert main(["info", str(path), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["format_version"], facts["examples"], facts["parts"], facts["complete"]) == (8, 9, [5, 4], True)
    quality = functa_store.open(path)
    assert facts["psnr_mean"]["train"] == pytest.approx(quality.psnr[quality.split[:] == "train"].mean(), rel=1e-6)
    shard = path / "parts/0001.functa/modulations/c/0/0"
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    assert main(["verify", str(path)]) == 4
    verdict = functa_store.verify(path)
    assert list(verdict.damaged) == ["parts/0001.functa/modulations/c/0/0"]
    mends = f"functa repair {path} --archive ARCHIVE mends parts/0001.functa of it; the archive was 'array'"
    assert verdict.advice[0].startswith(mends)
    capsys.readouterr()
    assert main(["verify", str(path)]) == 4
    assert mends in " ".join(capsys.readouterr().out.split())
    (path / "id/c/0").unlink()
    assert functa_store.verify(path).advice[0].startswith(f"functa repair {path} --archive ARCHIVE mends it; the")
    root = path / "parts/0001.functa" / ROOT
    root.write_text(root.read_text()[:-30])
    mends = rf"parts/0001\.functa/zarr\.json: no valid JSON .* part of {path}: functa verify {path} says what mends it"
    with pytest.raises(StoreFormatError, match=mends):
        functa_store.open(path)
    shutil.rmtree(path / "parts/0001.functa")
    with pytest.raises(StoreFormatError, match=r"parts/0001\.functa.*says what mends it"):
        functa_store.open(path)
    verdict = functa_store.verify(path)
    assert list(verdict.damaged) == ["id/c/0", "parts/0001.functa/zarr.json"]
    assert verdict.advice[1].startswith("copy parts/0001.functa back from another copy of the functaset")


@pytest.mark.slow
def test_a_copy_of_another_functaset_in_the_place_of_a_part_is_not_taken_for_one(plain, path, tmp_path):
    other = fitted(tmp_path / "other.functa", source(range(5, 9)), seed=1).store.path
    before = files(path)
    for copied, why in ((plain.store.path, r"ids that examples of"), (other, "base network")):
        shutil.copytree(copied, path / "parts/0001.functa")
        with pytest.raises(StoreExistsError, match=rf"0001\.functa: holds a functaset that cannot be a part.*{why}"):
            functa_store.append(source(range(5, 9)), path)
        shutil.rmtree(path / "parts")
        assert files(path) == before


@pytest.mark.slow
@pytest.mark.parametrize("at", ["the first shard", "the part's completion", "the listing"])
def test_an_interruption_leaves_what_was_there_and_the_same_call_goes_on(path, monkeypatch, at):
    places = {
        "the first shard": "functa_store.store.writing.writer.StoreWriter.write",
        "the part's completion": "functa_store.store.writing.writer.StoreWriter._complete",
        "the listing": "functa_store.conversion.append.list_part",
    }
    before = files(path)
    with monkeypatch.context() as patch:
        patch.setattr(places[at], lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            functa_store.append(source(range(5, 9), classes=NEW), path)
    assert files(path)[ROOT] == before[ROOT]
    assert len(functa_store.open(path)) == 5
    assert functa_store.open(path).label_names["animal"] == ("cat", "dog")
    verdict = functa_store.verify(path)
    assert (verdict.complete, verdict.damaged, verdict.foreign) == (True, {}, [])
    if at == "the part's completion":
        other = r"0001\.functa: a call that was interrupted was adding 4 examples of 'array' \(SHA.* add 3 .* delete "
        with pytest.raises(StoreMismatchError, match=other):
            functa_store.append(source(range(5, 8), classes=NEW), path)
        with pytest.raises(StoreMismatchError, match="unfinished"):
            functa_store.append(source(range(5, 9)), path)
    assert functa_store.append(source(range(5, 9), classes=NEW), path) == 4
    grown = functa_store.open(path)
    assert grown.ids[:].tolist() == [f"{row}.png" for row in range(9)]
    assert told(grown) == ["cat", "dog", "cat", "dog", "cat", "owl", "dog", "owl", "dog"]
    assert functa_store.verify(path).damaged == {}


def told(functaset):
    """The class of each example by its name."""
    return [functaset.label_names["animal"][number] for number in functaset.labels["animal"][:]]


@pytest.mark.slow
def test_classes_keep_their_numbers_and_new_ones_follow(path, tmp_path):
    notes = []
    functa_store.append(source(range(5, 7), classes=("dog", "cat")), path, report=notes.append)
    functa_store.append(source(range(7, 9), classes=("owl", "cow")), path, report=notes.append)
    functa_store.append(source([9], classes=("owl", "dog")), path, report=notes.append)
    assert not [note for note in notes if isinstance(note, Note) and "label" in note.message and "read" in note.message]
    grown = functa_store.open(path)
    assert grown.label_names["animal"] == ("cat", "dog", "owl", "cow")
    assert told(grown) == ["cat", "dog"] * 3 + ["cat", "owl", "cow", "owl"]
    assert functa_store.open(path / "parts/0001.functa").label_names["animal"] == ("cat", "dog")
    assert told(functa_store.open(path / "parts/0002.functa")) == ["owl", "cow"]
    stored = ts.open(grown.tensorstore_spec("labels/animal")).result().read().result()
    np.testing.assert_array_equal(stored, grown.labels["animal"][:])
    assert grown.select(where={"animal": "owl"}).ids[:].tolist() == ["7.png", "9.png"]
    assert main(["subset", str(path), str(tmp_path / "some.functa"), "--where", "animal=cow,owl"]) == 0
    assert told(functa_store.open(tmp_path / "some.functa")) == ["owl", "cow", "owl"]
    functa_store.recode(path, tmp_path / "plain.functa", "float16")
    assert told(functa_store.open(tmp_path / "plain.functa")) == told(grown)
    functa_store.card(path, tmp_path / "README.md")
    assert "cat 4, dog 3, owl 2, cow 1" in (tmp_path / "README.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(("folder", "expected"), [("cat", "cat"), ("train/dog", "dog"), ("owl", None), ("", None)])
def test_one_folder_that_is_called_as_a_class_is_of_that_class(tmp_path, folder, expected):
    """Folders tell classes only where there are several, in what is added alone."""
    first = source(range(5))
    first.provenance |= {"labels_by": {"class": "folders, their names by taxonomy.json"}}
    first.labels = {"class": first.labels["animal"]}
    path, notes = tmp_path / "pets.functa", []
    fitted(path, first)
    added = source(range(5, 7), labels={}, ids=[f"{folder}/{row}.png".lstrip("/") for row in range(5, 7)])
    functa_store.append(added, path, report=notes.append)
    grown = functa_store.open(path)
    messages = [note.message for note in notes if isinstance(note, Note)]
    if expected is None:
        assert "class" not in grown.labels
        assert any("the label 'class' is not read of the whole" in message for message in messages)
    else:
        assert [grown.label_names["class"][number] for number in grown.labels["class"][5:]] == [expected] * 2
        assert f"{path}: all new examples are of the class {expected!r}, by their folder" in messages
        told_by = grown.store.stores[1].spec.provenance["labels_by"]
        assert told_by == {"class": "the one folder that all lie in"}
    assert functa_store.verify_deep([first, added], path).left == {}


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "finished"), [("float32", True), ("float32", False), ("int8", False)])
def test_a_part_of_one_folder_without_its_class_is_of_its_archive_still(tmp_path, monkeypatch, dtype, finished):
    """As a release that did not know this rule added it, or began to."""
    first = source(range(5))
    first.provenance |= {"labels_by": {"class": "folders"}}
    first.labels = {"class": first.labels["animal"]}
    path = tmp_path / "pets.functa"
    functa_store.recode(fitted(tmp_path / "exact.functa", first), path, dtype)
    added = source(range(5, 7), labels={}, ids=["cat/5.png", "cat/6.png"])
    with monkeypatch.context() as patch:
        patch.setattr("functa_store.conversion.part_examples._one_class", lambda *_: None)
        if not finished:
            patch.setattr("functa_store.store.writing.writer.StoreWriter._complete", lambda *_, **__: 1 / 0)
        with contextlib.nullcontext() if finished else pytest.raises(ZeroDivisionError):
            functa_store.append(added, path)
    assert functa_store.append(added, path) == (0 if finished else 2)
    shard = path / "parts/0001.functa/modulations/c/0/0"
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    assert functa_store.repair([first, added], path) == ["parts/0001.functa/modulations/c/0/0"]
    found = functa_store.verify_deep([first, added], path)
    assert (list(found.compared), found.grown, found.left) == ([".", "parts/0001.functa"], {}, {})


def test_a_number_without_a_class_stays_none_and_wide_numbers_are_kept(path):
    """Of the 300 classes of the addition 298 are new; the functaset has them as bytes would not."""
    many = tuple(map(str, range(298)))
    labels = {"animal": Label(values=np.array([0, 299, -1], np.int16), names=("dog", "cat", *many))}
    functa_store.append(source(range(5, 8), labels=labels), path)
    grown = functa_store.open(path)
    assert grown.labels["animal"][5:].tolist() == [1, 299, -1]
    assert grown.label_names["animal"][299] == "297"


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        ({}, "array has none; give it by an option of that archive, such as --option labels=FILE"),
        ({"animal": Label(values=np.arange(1))}, "some have names of its classes and others have none; give array"),
        ({"animal": Label(values=np.zeros(1, np.float32), names=("cow",))}, "are numbered by float32; give array"),
    ],
)
def test_a_label_that_cannot_be_read_of_the_whole_is_named_with_what_to_do(path, labels, why):
    notes = []
    functa_store.append(source([5], labels=labels), path, report=notes.append)
    messages = [note.message for note in notes if isinstance(note, Note)]
    assert any("the label 'animal' is not read of the whole" in message and why in message for message in messages)
    assert "animal" not in functa_store.open(path).labels


def test_what_cannot_be_added_is_refused(plain, path, tmp_path):
    with pytest.raises(ArchiveError, match="not of the kind"):
        functa_store.append(ArraySource(np.zeros((2, 12, 10, 1)), channels=["grey"]), path)
    assert len(functa_store.open(path)) == 5
    functa_store.append(source([5]), path)
    with pytest.raises(StoreFormatError, match="has 1 parts more"):
        StoreReader(path)
    assert len(StoreReader(path, alone=True)) == 5
    (path / "zarr.json").write_text((path / "zarr.json").read_text().replace('"examples": 1', '"examples": 2'))
    with pytest.raises(StoreFormatError, match="its checksum is not that of what it says"):
        functa_store.open(path)


@pytest.mark.slow
def test_a_reader_that_was_open_goes_on_reading(path):
    reader = functa_store.open(path)
    functa_store.append(source(range(5, 9)), path)
    assert len(reader) == 5
    np.testing.assert_array_equal(reader.modulations[:], functa_store.open(path).modulations[:5])


@pytest.mark.slow
@pytest.mark.parametrize("place", ["memory://append/pets.functa", "pets8.functa"])
def test_functasets_in_a_bucket_and_in_int8_grow_too(plain, tmp_path, place):
    where = place if "://" in place else str(tmp_path / place)
    functa_store.recode(plain, where, "int8")
    functa_store.append(source(range(5, 9)), where)
    with pytest.raises(StoreExistsError, match="is a part of a functaset; append to that one"):
        functa_store.append(source(range(9, 10)), f"{where}/parts/0001.functa")
    grown = functa_store.open(where)
    assert (len(grown), grown.store.stores[1].spec.config.modulation_dtype) == (9, "int8")
    functa_store.encode(source(range(5, 9)), where, tmp_path / "new.functa")
    np.testing.assert_array_equal(grown.modulations[5:], functa_store.open(tmp_path / "new.functa").modulations[:])
    assert functa_store.verify(where).damaged == {}
    left = [key for key in open_objects(where).sizes() if ".work/" in key or ".log" in key]
    assert left == []


@pytest.mark.slow
def test_the_command_takes_a_growing_folder(tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    for number, picture in enumerate(PICTURES[:6]):
        Image.fromarray(picture).save(tmp_path / f"photos/{number}.png")
    words = ["--outer-steps", "2", "--resolution", "8", "--modulation-dim", "4", "--network.width", "16"]
    archive, out = str(tmp_path / "photos"), str(tmp_path / "photos.functa")
    assert main(["convert", "images", archive, out, *words]) == 0
    for number, picture in enumerate(PICTURES[6:]):
        Image.fromarray(picture).save(tmp_path / f"photos/{number + 6}.png")
    capsys.readouterr()
    assert main(["append", out, archive, "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["parts"] == [6, 5]
    assert sorted(functa_store.open(out).ids[:].tolist()) == sorted(f"{number}.png" for number in range(11))
    assert main(["verify", out]) == 0
