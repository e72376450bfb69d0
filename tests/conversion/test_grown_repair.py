"""A functaset that has grown is verified in depth and repaired, each part beside the archive that it was fitted to."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

import functa_store
from functa_store.cli.main import main
from functa_store.conversion.workers.engine import Elsewhere
from functa_store.errors import ArchiveError, ConfigError, StoreExistsError, StoreFormatError, StoreMismatchError
from functa_store.sources.array_source import ArraySource
from functa_store.sources.augmentation import Augmentations
from functa_store.sources.features import FeatureSpec
from functa_store.sources.source import Label
from functa_store.store.reading.joined_store import JoinedStore, rows_in_memory
from tests.conversion.fitted import NETWORKS, blends, fitted

pytestmark = pytest.mark.slow

PICTURES = blends(20)
SPEC = FeatureSpec(channels=("red", "green", "blue"), scale=1 / 255)
PART = "parts/0001.functa"


def source(rows, classes, coarse=False):
    """Some of the pictures, by the names that they always have; every second row and column of them if coarse."""
    labels = {"animal": Label(values=np.arange(len(rows)) % len(classes), names=classes)}
    pictures = PICTURES[list(rows)]
    return ArraySource(
        pictures[:, ::2, ::2] if coarse else pictures,
        features=SPEC,
        labels=labels,
        ids=[f"{row}.png" for row in rows],
        name=f"{rows[0]}.npy",
    )


def first():
    return source(range(10), ("cat", "dog"))


def second():
    """Half of it is there already, and its classes are others in another order."""
    return source(range(5, 15), ("owl", "dog", "cat"))


def third():
    """At another resolution."""
    return source(range(15, 20), ("dog", "cow"), coarse=True)


def augmented():
    """Two pictures, the second of which is a part of the first."""
    made = source([15, 16], ("dog",))
    ones = np.ones(2, np.float32)
    found = Augmentations(of=np.zeros(2, np.int64), flip=np.zeros(2, bool), top=0 * ones, left=0 * ones, side=ones)
    made.augmentations = found
    made.split = np.full(2, "train")
    return made


KINDS = {
    "float32": lambda: [first(), second(), third()],
    "int8": lambda: [first(), second()],
    "float16": lambda: [first(), second()],
    "spatial": lambda: [first(), second(), third()],
    "augmented": lambda: [first(), augmented()],
}


def grow(path, kind):
    plain = path.with_name("plain.functa")
    fitted(plain, first(), NETWORKS["spatial" if kind == "spatial" else "latent"])
    functa_store.recode(plain, path, kind if kind in ("int8", "float16") else "float32")
    for one in KINDS[kind]()[1:]:
        functa_store.append(one, path)


@pytest.fixture(scope="module", name="stores")
def _stores(tmp_path_factory):
    folder, made = tmp_path_factory.mktemp("stores"), {}

    def store(kind):
        if kind not in made:
            made[kind] = folder / kind / "grown.functa"
            made[kind].parent.mkdir()
            grow(made[kind], kind)
        return made[kind]

    return store


@pytest.fixture(name="path")
def _path(stores, tmp_path):
    return shutil.copytree(stores("float32"), tmp_path / "grown.functa")


def files(path):
    return {p.relative_to(path).as_posix(): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def damage(path, *keys):
    for key in keys:
        (path / key).write_bytes((path / key).read_bytes()[:-1] + b"x")


def everywhere(path):
    """An array of labels, and the last shard of the modulations and of the errors of each store."""
    stores = [path, *sorted(path.glob("parts/*.functa"))]
    lost = [max(key for key in (store / "modulations/c").rglob("0") if key.is_file()) for store in stores] + [
        stores[-1] / "mse/c/0"
    ]
    return sorted(key.relative_to(path).as_posix() for key in [*lost, stores[1] / "labels/animal/c/0"])


@pytest.mark.parametrize("kind", KINDS)
def test_every_part_is_compared_with_its_archive_and_mended_from_it(stores, tmp_path, kind):
    path = shutil.copytree(stores(kind), tmp_path / "grown.functa")
    before, sources = files(path), KINDS[kind]()
    verdict = functa_store.verify_deep(sources[::-1], path)
    assert list(verdict.compared) == [".", *(f"parts/000{k}.functa" for k in range(1, len(sources)))]
    assert verdict.worst.worst < 1
    assert verdict.worst.examples == len(functa_store.open(path))
    assert (verdict.left, verdict.grown) == ({}, {})
    lost = everywhere(path)
    damage(path, *lost)
    assert sorted(functa_store.verify(path).damaged) == lost
    assert sorted(functa_store.repair(sources[::-1], path)) == lost
    assert files(path) == before
    assert functa_store.repair(sources, path) == []
    assert [p.name for p in tmp_path.iterdir()] == ["grown.functa"]


def test_a_part_is_mended_without_the_archives_of_others(path):
    before = files(path)
    damage(path, f"{PART}/mse/c/0")
    verdict = functa_store.verify(path)
    (advice,) = verdict.advice
    assert advice.startswith(
        f"functa repair {path} --archive ARCHIVE mends {PART} of it; the archive was '5.npy' of the"
    )
    assert functa_store.repair(second(), path) == [f"{PART}/mse/c/0"]
    assert files(path) == before


def test_what_mends_the_first_examples_names_their_archive_as_that_of_a_part(path):
    damage(path, "mse/c/0")
    (advice,) = functa_store.verify(path).advice
    assert advice.startswith(
        f"functa repair {path} --archive ARCHIVE mends it; the archive was '0.npy' of the SHA-256 "
    )


def test_what_has_no_archive_is_named_and_the_rest_is_mended(path):
    before = files(path)
    damage(path, "mse/c/0", f"{PART}/mse/c/0")
    with pytest.raises(
        StoreMismatchError, match=r"archive that it was converted from, '0\.npy' of the SHA-256"
    ) as caught:
        functa_store.repair([second(), third()], path)
    assert "Of other parts 1 objects were written again" in str(caught.value)
    assert list(functa_store.verify(path).damaged) == ["mse/c/0"]
    assert functa_store.repair(first(), path) == ["mse/c/0"]
    assert files(path) == before


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(lambda: source(range(5, 16), ("owl", "dog", "cat")), id="more examples"),
        pytest.param(lambda: source(range(5, 15), ("dog", "owl", "cat")), id="classes in another order"),
        pytest.param(lambda: source(range(5, 15), ("owl", "dog", "cow")), id="a class renamed"),
        pytest.param(first, id="that of the first"),
    ],
)
def test_another_archive_is_refused_and_changes_nothing(path, wrong):
    damage(path, f"{PART}/mse/c/0")
    before = files(path)
    with pytest.raises(StoreMismatchError, match=r"0001\.functa: was converted from another archive.*'5\.npy'"):
        functa_store.repair(wrong(), path)
    assert files(path) == before


@pytest.mark.parametrize(
    "at", ["conversion.workers.engine.fit_shards", "conversion.repair.list_parts", "conversion.repair.clear_job"]
)
def test_an_interrupted_repair_of_what_parts_follow_lists_them_again(path, monkeypatch, at):
    before = files(path)
    damage(path, "modulations/c/1/0")
    with monkeypatch.context() as patch:
        patch.setattr(f"functa_store.{at}", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            functa_store.repair(first(), path)
    if at != "conversion.repair.clear_job":
        assert len(functa_store.open(path)) in (8, 10)
        with pytest.raises(StoreFormatError, match="finish it by the command that was interrupted"):
            functa_store.append(third(), path)
    functa_store.repair(first(), path)
    assert files(path) == before
    assert not path.with_name("grown.functa.work").exists()


def test_an_interrupted_repair_of_a_part_goes_on(path, monkeypatch):
    before = files(path)
    damage(path, f"{PART}/modulations/c/0/0")
    with monkeypatch.context() as patch:
        patch.setattr("functa_store.conversion.workers.engine.fit_shards", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            functa_store.repair(second(), path)
    with pytest.raises(StoreFormatError, match="expected 5 of"):
        functa_store.open(path)
    assert functa_store.repair(second(), path) == [f"{PART}/modulations/c/0/0"]
    assert files(path) == before


def test_what_nothing_mends_is_said(path):
    (path / f"{PART}/zarr.json").unlink()
    with pytest.raises(StoreFormatError, match=rf"\. To mend it, copy {PART} back from another copy.*\.$"):
        functa_store.repair(second(), path)
    damage(path, "base/map/kernel/c/0/0")
    with pytest.raises(StoreFormatError, match="without its base"):
        functa_store.repair(first(), path)
    with pytest.raises(ConfigError, match="no source was given"):
        functa_store.repair([], path)
    with pytest.raises(StoreExistsError, match="is a part of a functaset; repair that one"):
        functa_store.repair(second(), path / PART)
    with pytest.raises(ConfigError, match="was made in Python"):
        functa_store.repair(second(), path, engine=Elsewhere())


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("given", [None, "5.npy", [None]])
def test_what_is_no_source_is_refused_as_that(path, given):
    for call in (functa_store.verify_deep, functa_store.repair):
        with pytest.raises(ArchiveError, match=r"expected a functa_store\.Source"):
            call(given, path)


def test_archives_that_are_not_given_are_named(path):
    verdict = functa_store.verify_deep(second(), path)
    assert list(verdict.compared) == [PART]
    assert verdict.left.keys() == {".", "parts/0002.functa"}
    assert verdict.left["."].startswith("'0.npy' of the SHA-256 ")
    with pytest.raises(StoreMismatchError, match=r"5\.npy is none of the archives.*0001\.functa: '5\.npy' of"):
        functa_store.verify_deep([first(), source(range(5, 15), ("a", "b"), coarse=True)], path)
    with pytest.raises(StoreExistsError, match="is a part of a functaset; verify that one"):
        functa_store.verify_deep(second(), path / PART)


def test_an_archive_that_was_read_in_one_of_several_ways_is_known_by_that(path):
    otherwise = first()
    otherwise.provenance = {**otherwise.provenance, "limit": 99}
    verdict = functa_store.verify_deep([otherwise, first(), second(), third()], path)
    assert list(verdict.compared) == [".", PART, "parts/0002.functa"]
    assert verdict.grown == {}
    with pytest.raises(StoreMismatchError, match=r"x\.npy is none of the archives.*All of these were given"):
        functa_store.verify_deep([first(), second(), third(), stranger()], path)


def stranger():
    made = first()
    made.provenance = {**made.provenance, "archive": "x.npy", "sha256": "0"}
    return made


def test_an_archive_that_has_grown_is_known_by_its_examples(path):
    whole = source(range(15), ("cow", "dog"))
    verdict = functa_store.verify_deep([whole, third()], path)
    assert list(verdict.compared) == [".", PART, "parts/0002.functa"]
    assert verdict.grown.keys() == {".", PART}
    assert "sha256" in verdict.grown[PART]
    with pytest.raises(StoreMismatchError, match="is none of the archives"):
        functa_store.verify_deep([source_of(255 - PICTURES[:15]), third()], path)


def source_of(pictures):
    return ArraySource(pictures, features=SPEC, ids=[f"{row}.png" for row in range(len(pictures))])


def test_modulations_that_are_not_those_of_their_examples_are_found_in_their_part(path):
    functaset = functa_store.open(path)
    assert isinstance(functaset.store, JoinedStore)
    part = functaset.store.stores[1]
    part.mse = rows_in_memory("mse", part.mse[:] * 1.5)
    verdict = functa_store.verify_deep([first(), second(), third()], functaset)
    assert [name for name, found in verdict.compared.items() if found.worst > 1] == [PART]


def test_why_several_parts_are_not_mended_is_said_once(path, monkeypatch):
    damage(path, "mse/c/0", f"{PART}/mse/c/0", "parts/0002.functa/mse/c/0")
    with monkeypatch.context() as patch:
        patch.setattr("functa_store.conversion.workers.engine.fit_shards", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            functa_store.repair(first(), path)
    with pytest.raises(StoreMismatchError, match=r"another archive.*unfinished store") as caught:
        functa_store.repair([second(), third()], path)
    assert str(caught.value).count("unfinished store") == 1


def test_what_was_merged_before_it_grew_has_no_archive_of_its_own(path, tmp_path):
    merged = tmp_path / "merged.functa"
    functa_store.merge([functa_store.open(path).select(index=slice(0, 10))], merged)
    functa_store.append(source(range(15, 18), ("dog",)), merged)
    verdict = functa_store.verify_deep(source(range(15, 18), ("dog",)), merged)
    assert (list(verdict.compared), verdict.left) == ([PART], {".": "none (it was merged)"})
    damage(merged, "mse/c/0")
    with pytest.raises(StoreMismatchError, match="has no archive; copy it from another copy, or merge it"):
        functa_store.repair(source(range(15, 18), ("dog",)), merged)


def test_what_was_encoded_at_another_resolution_is_compared_and_mended_at_it(path, tmp_path):
    functa_store.encode(third(), functa_store.open(path), tmp_path / "coarse.functa")
    before = files(tmp_path / "coarse.functa")
    assert functa_store.verify_deep(third(), tmp_path / "coarse.functa").worst.worst < 1
    damage(tmp_path / "coarse.functa", "modulations/c/0/0")
    assert functa_store.repair(third(), tmp_path / "coarse.functa") == ["modulations/c/0/0"]
    assert files(tmp_path / "coarse.functa") == before
    with pytest.raises(StoreMismatchError, match="another archive"):
        functa_store.verify_deep(source(range(15, 20), ("dog", "cow")), tmp_path / "coarse.functa")


def test_examples_that_were_added_at_another_resolution_are_not_taken_for_others_at_that_of_the_base(path):
    """Their errors are those at their own points."""
    assert functa_store.append(source(range(15, 20), ("dog", "cow")), path) == 0
    assert functa_store.append(source(range(5, 20), ("owl", "dog")), path) == 0
    wrong = source(range(5), ("dog", "cow"))
    wrong.ids = [f"{row}.png" for row in (10, 11, 15, 16, 17)]
    with pytest.raises(ArchiveError, match=r"'1[01]\.png' has other values"):
        functa_store.append(wrong, path)


def test_the_commands_take_several_archives_and_classes_of_folders(tmp_path, capsys):
    for archive, classes in (("old", ("cat", "dog")), ("new", ("dog", "owl"))):
        for number, picture in enumerate(PICTURES[:8] if archive == "old" else PICTURES[8:16]):
            folder = tmp_path / archive / classes[number % 2]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(folder / f"{archive}{number}.png")
    words = ["--outer-steps", "2", "--resolution", "8", "--modulation-dim", "4", "--network.width", "16", "--quiet"]
    old, new, out = (str(tmp_path / name) for name in ("old", "new", "pets.functa"))
    assert (
        main(["convert", "images", old, out, *words, "--limit", "8"]) == 0
    )  # both are opened with the limit and without
    assert main(["append", out, new]) == 0
    grown = functa_store.open(out)
    assert grown.label_names["class"] == ("cat", "dog", "owl")
    told = [grown.label_names["class"][number] for number in grown.labels["class"][:]]
    assert told == [name.split("/")[0] for name in grown.ids[:].tolist()]
    capsys.readouterr()
    deep = ["verify", out, "--deep", "--archive"]
    assert main([*deep, new, "--archive", old, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["decoded"]["examples"], list(found["stores"]["compared"])) == (16, [".", PART])
    assert main([*deep, old]) == 0
    assert f"{PART}: was not compared; its archive, 'new'" in " ".join(capsys.readouterr().out.split())
    before = files(tmp_path / "pets.functa")
    damage(tmp_path / "pets.functa", "mse/c/0", f"{PART}/mse/c/0")
    assert main(["repair", out, "--archive", new]) == 2
    assert "'old'" in capsys.readouterr().err
    assert main(["repair", out, "--archive", old, "--archive", new]) == 0
    assert files(tmp_path / "pets.functa") == before
