"""Archives without a single member of the kind wanted say what they hold, and what of it cannot be read."""

import zipfile

import pytest

from converters.images.images import open_images
from converters.scenes.nerf import open_nerf
from converters.scenes.srn import open_srn
from converters.shapes.shapenet import open_shapenet
from converters.signals.audio import open_audio
from converters.signals.video import open_video
from functa_store.errors import ArchiveError

OPENERS = {
    "a.png": open_images,
    "a.off": open_shapenet,
    "a.wav": lambda path: open_audio(path, samples=8),
    "a.mp4": open_video,
    "scene/rgb/0.png": open_srn,
    "scene/transforms.json": open_nerf,
}


@pytest.mark.parametrize("member", OPENERS)
def test_the_commonest_reason_is_said_why_members_of_the_kind_cannot_be_read(tmp_path, member):
    """They were passed over: the message said that the archive holds a .txt."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(f"../{member}", b"x")
        archive.writestr(f"b/../../{member}", b"x")
        archive.writestr("readme.txt", b"x")
    with pytest.raises(ArchiveError) as caught:
        OPENERS[member](tmp_path / "a.zip")
    assert "found 1 .txt, and 2 that cannot be read: 2 of them has a name that leads out of the archive" in str(
        caught.value
    )
