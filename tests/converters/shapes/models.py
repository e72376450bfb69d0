"""Binvox files, meshes and archives of them, made on the fly."""

import numpy as np

from converters.shapes.shapenet import open_shapenet
from functa_store.progress import Note

PLANE, CHAIR = "02691156", "03001627"
CUBE_CORNERS = [(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)]
CUBE_FACES = [
    (0, 1, 3), (0, 3, 2), (4, 6, 7), (4, 7, 5), (0, 4, 5), (0, 5, 1), (2, 3, 7), (2, 7, 6), (0, 2, 6), (0, 6, 4),
    (1, 5, 7), (1, 7, 3),
]  # fmt: skip


def encode_binvox(occupancy, translate=(0, 0, 0), scale=1.0):
    """A binvox file of an array (z, y, x), written cell by cell as the format's page says."""
    size_z, size_y, size_x = occupancy.shape
    runs = []
    for x in range(size_x):
        for z in range(size_z):
            for y in range(size_y):
                value = int(occupancy[z, y, x])
                if runs and runs[-1][0] == value and runs[-1][1] < 255:
                    runs[-1][1] += 1
                else:
                    runs.append([value, 1])
    header = (
        f"#binvox 1\ndim {size_x} {size_z} {size_y}\ntranslate {' '.join(map(str, translate))}\nscale {scale}\ndata\n"
    )
    return header.encode() + bytes(number for run in runs for number in run)


def ball(size, centre=(0.5, 0.5, 0.5), radius=0.4):
    """Occupancy of a ball, (z, y, x)."""
    points = (np.arange(size) + 0.5) / size
    z, y, x = np.meshgrid(points, points, points, indexing="ij")
    return (z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 < radius**2


def encode_off(corners, faces, glued=False):
    """An OFF file; glued as some of ModelNet40's are."""
    lines = [f"OFF{'' if glued else chr(10)}{len(corners)} {len(faces)} 0"]
    lines += [" ".join(map(str, corner)) for corner in corners]
    lines += ["3 " + " ".join(map(str, face)) for face in faces]
    return "\n".join(lines).encode()


def encode_obj(corners, faces):
    """An OBJ file."""
    lines = ["v " + " ".join(map(str, corner)) for corner in corners]
    lines += ["f " + " ".join(str(k + 1) for k in face) for face in faces]
    return "\n".join(lines).encode()


def opened(path, **options):
    """The source, and what it says."""
    notes = []
    source = open_shapenet(
        path, resolution=8, report=lambda e: notes.append(e.message) if isinstance(e, Note) else None, **options
    )
    return source, notes


def csv_of(*rows, header="id,synsetId,subSynsetId,modelId,split"):
    return "\n".join([header, *rows]).encode()
