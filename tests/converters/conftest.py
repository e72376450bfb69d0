"""Tiny images and archives, made on the fly."""

import io
import pathlib
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

KINDS = ("folder", "zip", "tar")


def encode_image(seed=0, size=(20, 24), mode="RGB", fmt="PNG", **save):
    """Bytes of a random image of (width, height)."""
    channels = len(Image.new(mode, (1, 1)).getbands())
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], channels), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels.squeeze(-1) if channels == 1 else pixels, mode if mode == "CMYK" else None).save(
        buffer, fmt, **save
    )
    return buffer.getvalue()


def write_archive(parent, kind, files, name="archive"):
    """Path of a folder, zip or tar with these members."""
    path = pathlib.Path(parent) / (name if kind == "folder" else f"{name}.{kind}")
    if kind == "folder":
        for member, content in files.items():
            (path / member).parent.mkdir(parents=True, exist_ok=True)
            (path / member).write_bytes(content)
    elif kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for member, content in files.items():
                archive.writestr(member, content)
    else:
        with tarfile.open(path, "w") as archive:
            for member, content in files.items():
                info = tarfile.TarInfo(member)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return path


@pytest.fixture(name="encode_image", scope="session")
def _encode_image():
    return encode_image


@pytest.fixture
def pack(tmp_path):
    return lambda files, kind="zip", name="archive": write_archive(tmp_path, kind, files, name)


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param
