"""Meshes are parsed from their own bytes, and what is wrong with one is said in words."""

import time
import tracemalloc

import numpy as np
import pytest

from converters.shapes import mesh_files
from converters.shapes import mesh_files as meshes
from converters.shapes.mesh_files import read_mesh, voxelise
from converters.shapes.shapenet import open_shapenet
from functa_store.errors import MemberError

CORNERS = b"v 0 0 0\nv 1 0 0\nv 0 1 0\nv 1 1 1\n"


TRIANGLES = b"OFF\n%s\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n3 0 1 2\n3 1 2 3\n"


def faces(content, suffix=".obj"):
    return read_mesh(content, suffix).faces.tolist()


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (b"f 1 2 3\n", [[0, 1, 2]]),
        (b"f 1/1 2/2 3/3", [[0, 1, 2]]),
        (b"f 1/1/1 2//2 3/3/\r\n", [[0, 1, 2]]),
        (b"f -4 -3 -1\n", [[0, 1, 3]]),
        (b"f 1 2 3 4\n", [[0, 1, 2], [0, 2, 3]]),
        (b"f 1 2 \\\n3\n", [[0, 1, 2]]),
        (b"f 1 2 3 # 4\n# f 1 2 4\ng x\nusemtl y\ns off\nl 1 2\np 1\nf 1 2\nf 2 3 4\n", [[0, 1, 2], [1, 2, 3]]),
        (b"f 1 2 5\nv 9 9 9\n", [[0, 1, 4]]),
        (b"  f 1 2 3\n", [[0, 1, 2]]),
        (b"\tf\t1\t2\t3\n", [[0, 1, 2]]),
        (b"f -4//-1 -3//-1 -1//-1\n", [[0, 1, 3]]),
        (b"f -4 -3 -2\nv 5 5 5\nf -4 -3 -2\n", [[0, 1, 2], [1, 2, 3]]),
        (
            b"g a\nf -4 -3 -2\no b\nv 5 5 5\nv 6 6 6\nv 7 7 7\ng c\nf -3 -2 -1\nf 5 6 1\n",
            [[0, 1, 2], [4, 5, 6], [4, 5, 0]],
        ),
        (b"fo 1 2 3\n", [[0, 1, 2]]),
        (b"f 1 \\ \n 2 \\\n 3\n", [[0, 1, 2]]),
        (b"f 1 2\\\n3\n", [[0, 1, 2]]),
        (b"f \\\r\n1 2 3 # x \\\r\nf 2 3 4\r\n", [[0, 1, 2], [1, 2, 3]]),
        (b"# from C:\\models\\\nmtllib C:\\x\\\nf 1 2 3\n", [[0, 1, 2]]),
        (b"f 1 2 3\rf 2 3 4\r", [[0, 1, 2], [1, 2, 3]]),
    ],
)
def test_faces_of_an_obj_are_triangles(lines, expected):
    assert faces(CORNERS + lines) == expected


@pytest.mark.parametrize(
    "vertices",
    [
        b"v 0 0 0\nv 1 0 0\nv 0 2.5 0\n",
        b"v 0 0 0 1.0\nv 1 0 0 1\nv 0 2.5 0 1\n",
        b"v 0 0 0 0.5 0.5 0.5\nv 1 0 0 1 0 0\nv 0 2.5 0 0 0 1\n",
        b"v 0 0 0 0.5 0.5 0.5 1\nv 1 0 0 1 0 0 1\nv 0 2.5 0 0 0 1 1\n",
        b"v 0e0 -0 +0\nv 1E+0 0 0\nv 0 .25e1 0.\n",
        b"\xef\xbb\xbfv 0 0 0\r\nv 1 0 0\r\nv 0 2.5 0\r\n",
        b"v 0 0 0\nvn 0 0 1\nv 1 0 0\nvt 0 0\nvp 1\nv 0 \\\n2.5 0\n",
    ],
)
def test_vertices_of_an_obj_may_have_weights_of_1_and_colours(vertices):
    mesh = read_mesh(vertices + b"f 1 2 3\n", ".obj")
    assert mesh.vertices.tolist() == [[0, 0, 0], [1, 0, 0], [0, 2.5, 0]]


@pytest.mark.parametrize(
    ("name", "after"),
    [
        ("OFF", ""),
        ("COFF", " 9 8 7 255"),
        ("COFF", " .1 .2 .3"),
        ("NOFF", " 0 0 1"),
        ("CNOFF", " 0 0 1 9 9 9 9"),
        ("STOFF", " .5 .5"),
        ("STCNOFF", " 0 0 1 9 9 9 9 .5 .5"),
        ("# made by x\n\noff", ""),
        ("\ufeffOFF", ""),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("between", ["\n", " ", ""])
def test_variants_of_off_have_the_same_triangles(name, after, end, between):
    rows = [f"{name}{between}5 2 0", *(f"{k} {k * k}\t{k}e-1{after}" for k in range(5)), "5 0 1 2 3 4", "3 4 2 0 1 0 0"]
    mesh = read_mesh(end.join(rows).encode(), ".off")
    assert mesh.vertices.tolist() == [[k, k * k, k / 10] for k in range(5)]
    assert len(mesh.faces) == 4
    assert mesh.faces[3].tolist() == [4, 2, 0]


@pytest.mark.parametrize("name", [b"OFF", b"COFF", b"NOFF", b"CNOFF", b"STOFF", b"\n OFF", b"off"])
@pytest.mark.parametrize("between", [b"\n", b"\n# a comment\n\n", b" ", b" # one\n"])
def test_off_is_read_with_comments_and_colours(name, between):
    text = name + between + b"4 2 0\n0 0 0 255 0 0\n1 0 0 255 0 0\n\n0 1 0\n1 1 1 # last\n3 0 1 2 255 0 0\n4 0 1 2 3\n"
    assert faces(text, ".off") == [[0, 1, 2], [0, 1, 2], [0, 2, 3]]


@pytest.mark.parametrize(
    ("content", "suffix", "reason"),
    [
        (CORNERS + b"f 1 2 x\n", ".obj", r"line 5: found 'f 1 2 x', expected whole numbers"),
        (CORNERS + b"f 1 2 " + b"9" * 5000, ".obj", r"line 5: found 'f 1 2 9+\.\.\.', expected whole numbers"),
        (CORNERS + b"f 1 2 " + b"9" * 18, ".obj", "names vertex"),
        (CORNERS + b"f 1 2 0\nv 1 1 2", ".obj", r"line 5: found 'f 1 2 0', expected vertices from 1 on"),
        (b"v 1 2\nf 1 1 1", ".obj", r"line 1: found 'v 1 2', expected three numbers"),
        (b"v 1 2 " + b"9" * 5000 + b"\nf 1 1 1", ".obj", "not finite"),
        (b"v 1 2 1e999\nf 1 1 1", ".obj", "not finite"),
        (b"v 1 2 x\xff\nf 1 1 1", ".obj", r"line 1: found 'v 1 2 x\\\\xff', expected"),
        (CORNERS + b"f 1" + b" 1" * (1 << 20), ".obj", "line 5: has 1048576 bytes or more"),
        (CORNERS + b"f 1 2 \\\n" * 200_000, ".obj", "bytes or more|without faces"),
        (b"OFF", ".off", "expected the numbers of vertices"),
        (b"OFF\n3\n", ".off", r"line 2: found '3', expected the numbers"),
        (b"OFF\n-3 1 0\n", ".off", "expected the numbers"),
        (b"OFF\n" + b"9" * 5000 + b" 1 0\n", ".off", "expected whole numbers"),
        (b"OFF\n1000000000 1 0\n0 0 0\n", ".off", "expected the numbers"),
        (b"OFF\n3 1 0\n0 0 0\n1 0 0\n", ".off", "ends after line 4, expected another vertex"),
        (b"OFF\n3 2 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n", ".off", "expected another face"),
        (b"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n9999999 0 1 2\n", ".off", "expected a number of corners"),
        (b"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n-1 0 1 2\n", ".off", "expected a number of corners"),
        (b"OFF BINARY\n\0\0\0\1", ".off", "is OFF BINARY, expected text"),
        (b"\0" * 1000, ".off", "expected OFF"),
        (b"4OFF\n3 1 0\n0 0 0 1\n1 0 0 1\n0 1 0 1\n3 0 1 2\n", ".off", "is 4OFF, expected text with three"),
        (b"nOFF\n3\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n", ".off", "is nOFF, expected text with three"),
        (b"OFFER 3 1 0\n", ".off", "expected OFF"),
        # One face more, one vertex more, one vertex less, and one of each too many and too few than are declared.
        (TRIANGLES % b"4 1 0" + b"3 1 2 3\n", ".off", r"line 8: found '3 1 2 3', expected nothing after .* 1 faces"),
        (TRIANGLES % b"5 2 0", ".off", r"line 7: found '3 0 1 2', expected another vertex of the 5 vertices"),
        (TRIANGLES % b"5 1 0", ".off", r"line 7: found '3 0 1 2', expected another vertex of the 5 vertices"),
        (TRIANGLES % b"3 2 0", ".off", r"names vertex 3 of 3|expected nothing after|expected a number of corners"),
        (TRIANGLES % b"4 3 0", ".off", r"ends after line 8, expected another face of the 4 vertices and 3 faces"),
        (TRIANGLES[:-3] % b"4 2 0", ".off", r"line 8: found '3 1 2', expected a number of corners"),
        (b"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1_0 0\n3 0 1 2\n", ".off", "expected three numbers of a vertex"),
        (b"OFF\n4 1 0\n0 0 0\n1 0 0\n0 1 0\nnan 0 0\n3 0 1 2\n", ".off", "not finite"),
        (CORNERS.replace(b"1 1 1", b"inf 1 1") + b"f 1 2 3", ".obj", "not finite"),
        (
            CORNERS.replace(b"1 1 1", b"1,5 1 1") + b"f 1 2 3",
            ".obj",
            "line 4: found 'v 1,5 1 1', expected three numbers",
        ),
        (CORNERS + b"v 1 1 1 0.5\nf 1 2 3", ".obj", "line 5: found 'v 1 1 1 0.5', expected the weight 1"),
        (b"v 0 0 0 v 1 0 0\nv 0 1 0\nf 1 2 3", ".obj", "line 1: found 'v 0 0 0 v 1 0 0', expected three numbers"),
        (CORNERS + b"f -5 -3 -2", ".obj", "line 5: found 'f -5 -3 -2', expected vertices .* down to -4"),
        (CORNERS + b"f 1_0 2 3", ".obj", "expected whole numbers"),
        (CORNERS + b"f 1 2 3\nsurf 0 1 0 1 1 2 3 4", ".obj", "expected faces alone"),
        ("v 0 0 0\n".encode("utf-16"), ".obj", "is text in UTF-16"),
    ],
)
def test_a_damaged_mesh_says_in_which_line_and_what_was_expected(content, suffix, reason):
    with pytest.raises(MemberError, match=reason) as caught:
        read_mesh(content, suffix)
    assert len(str(caught.value)) < 300


def test_materials_and_textures_that_an_obj_names_are_not_looked_for(tmp_path, monkeypatch):
    (tmp_path / "x.mtl").write_text("newmtl a\nmap_Kd /etc/passwd\n")
    text = (
        b"mtllib x.mtl\nmtllib /etc/passwd\nmtllib http://127.0.0.1/x\nusemtl a\nmap_Kd x.png\n"
        + CORNERS
        + b"f 1 2 3\n"
    )
    monkeypatch.chdir(tmp_path)
    opened = []
    monkeypatch.setattr("builtins.open", lambda *a, **k: opened.append(a))
    assert faces(text) == [[0, 1, 2]]
    assert opened == []


@pytest.mark.slow
def test_many_materials_and_groups_cost_no_more_than_their_bytes():
    """A reader that copies all vertices for each material takes gigabytes."""
    text = (
        b"v 0 0 0\n" * 20_000
        + CORNERS
        + b"".join(b"usemtl %d\no %d\ng %d\nf -1 -2 -3\n" % (k, k, k) for k in range(5_000))
    )
    tracemalloc.start()
    try:
        mesh = read_mesh(text, ".obj")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(mesh.faces) == 5_000
    assert peak < 20 << 20


@pytest.mark.slow
def test_more_triangles_or_vertices_than_are_held_are_refused(monkeypatch):
    monkeypatch.setattr(mesh_files, "MOST_TRIANGLES", 1 << 16)
    for text in (b"v 0 0 0\n" * (1 << 17), CORNERS + b"f 1 2 3\n" * (1 << 17), CORNERS + b"f" + b" 1" * 100_000):
        with pytest.raises(MemberError, match=r"has more than 65536 (vertices|triangles)"):
            read_mesh(text, ".obj")


def test_faces_that_each_fill_the_grid_are_refused_before_they_take_minutes(monkeypatch):
    monkeypatch.setattr(meshes, "_MOST_SAMPLES", 1000)
    monkeypatch.setattr(meshes, "_MORE_SAMPLES", 1)
    mesh = read_mesh(CORNERS + b"f 1 2 4\n" * 1000, ".obj")
    started = time.monotonic()
    with pytest.raises(MemberError, match="1000 faces that would take more than 2024 samples"):
        voxelise(mesh, 32, centred=True)
    assert time.monotonic() - started < 30


def test_a_mesh_is_the_same_in_blocks_of_faces(monkeypatch):
    corners = np.random.default_rng(0).random((100, 3))
    text = "".join(f"v {x} {y} {z}\n" for x, y, z in corners) + "".join(
        f"f {k + 1} {k + 2} {k + 3}\n" for k in range(97)
    )
    mesh = read_mesh(text.encode(), ".obj")
    whole = voxelise(mesh, 16, centred=False)
    monkeypatch.setattr(meshes, "_FACES_AT_ONCE", 7)
    np.testing.assert_array_equal(voxelise(mesh, 16, centred=False), whole)


@pytest.mark.parametrize(
    "taxonomy",
    [b'[{"synsetId": ' + b"9" * 5000 + b"}]", b"[" * 100_000, b"[{}]", b"[1]", b"\xff", b"{}x", b"9" * 5000],
)
def test_a_taxonomy_that_is_none_is_refused_in_words_of_our_own(pack, taxonomy):
    files = {f"02691156/{k}/model.binvox": b"" for k in range(3)}
    with pytest.raises(ValueError, match=r"taxonomy\.json: is no (taxonomy|text)") as caught:
        open_shapenet(pack(files | {"taxonomy.json": taxonomy}))
    assert "4300" not in str(caught.value)
