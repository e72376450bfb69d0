"""Split files are read in any form that means one thing."""

import pytest

from functa_store.errors import ArchiveError
from tests.converters.shapes.models import (
    CHAIR,
    CUBE_CORNERS,
    CUBE_FACES,
    PLANE,
    ball,
    csv_of,
    encode_binvox,
    encode_off,
    opened,
)

BALL, OFF = ball(8), encode_off(CUBE_CORNERS, CUBE_FACES)
ROWS = [f"{PLANE},m0,train", f"{PLANE},m1,test", f"{CHAIR},m0,val"]


@pytest.mark.parametrize(
    "content",
    [
        csv_of(*ROWS, header="synsetId,modelId,split"),
        csv_of(*ROWS[::-1], header="synsetId,modelId,split"),
        b"\xef\xbb\xbf" + csv_of(*ROWS, header="synsetId,modelId,split"),
        csv_of(*(row.replace(",", ";") for row in ROWS), header="synsetId;modelId;split"),
        csv_of(*(row.replace(",", "\t") for row in ROWS), header="synsetId\tmodelId\tsplit"),
        csv_of(*(row.replace(",", ", ") + " " for row in ROWS), header="synsetId, modelId, split"),
        csv_of(*(f'"{row}"'.replace(",", '","') for row in ROWS), header='"synsetId","modelId","split"'),
        csv_of(*(",".join(row.split(",")[::-1]) for row in ROWS), header="split,modelId,synsetId"),
        csv_of(*(f'"a, b",{row},"x""y"' for row in ROWS), header="name,synsetId,modelId,split,note"),
        csv_of(*(row.lstrip("0") for row in ROWS), "", header="synsetId,modelId,split").replace(b"\n", b"\r\n"),
        csv_of(*ROWS, ROWS[0], "04256520,m7,dev", f"{CHAIR},gone,", header="synsetId,modelId,split"),
        csv_of(*(row.replace("train", "Train") for row in ROWS), header="synsetId,modelId,split"),
    ],
)
def test_a_split_file_is_read_in_any_order_with_rows_of_others(pack, content):
    files = {f"{name}/model.binvox": encode_binvox(BALL) for name in (f"{PLANE}/m0", f"{PLANE}/m1", f"{CHAIR}/m0")}
    files[f"{CHAIR}/unlisted/model.binvox"] = encode_binvox(BALL)
    path = pack(files)
    (path.parent / "all.csv").write_bytes(content)
    source, notes = opened(path)
    found = dict(zip(source.ids, source.split, strict=True))
    assert found == {f"{PLANE}/m0": "train", f"{PLANE}/m1": "test", f"{CHAIR}/m0": "validation"}
    assert len(notes) == 1
    assert "1 of 4 models are left out" in notes[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (csv_of(ROWS[0], f"{PLANE},m1", header="synsetId,modelId,split"), "line 3: expected 3 fields"),
        (csv_of(f"{PLANE},a,m0,train", header="synsetId,modelId,split"), "line 2: expected 3 fields"),
        (csv_of(ROWS[0] + ",train", header="synsetId,modelId,split,split"), "expected also split, each once"),
        (csv_of(ROWS[0], f"{PLANE},m0,test", header="synsetId,modelId,split"), "found split 'test' of .*m0.*'train'"),
        (b"", "found columns"),
    ],
)
def test_a_split_file_whose_rows_could_mean_something_else_is_refused(pack, content, message):
    with pytest.raises(ArchiveError, match=message):
        opened(pack({f"{PLANE}/m0/model.binvox": encode_binvox(BALL), "all.csv": content}))


def test_in_folders_a_split_file_names_models_with_or_without_their_suffix(pack, tmp_path):
    files = {f"{c}/{k}.off": OFF for c in ("bed", "desk") for k in range(2)}
    (tmp_path / "mine.csv").write_bytes(
        csv_of("bed,0,test", "bed,1.off,train", "desk,1,val", header="synsetId,modelId,split")
    )
    source, _ = opened(pack(files), split=tmp_path / "mine.csv")
    found = dict(zip(source.ids, source.split, strict=True))
    assert found == {"bed/0.off": "test", "bed/1.off": "train", "desk/1.off": "validation"}
