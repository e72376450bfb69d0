"""Archives in a bucket of S3 are read by ranges, found by patterns."""

import pytest

from converters.images.images import open_images
from functa_store.errors import ArchiveError
from functa_store.store.storage.objects import StorageOptions, open_objects
from tests.kinds import archives
from tests.remote.conftest import BUCKET


def test_zips_of_a_bucket_are_found_and_read(s3_port, tmp_path, monkeypatch):
    endpoint = f"http://127.0.0.1:{s3_port}"
    data = archives.images(tmp_path).read_bytes()
    bucket = open_objects(f"s3://{BUCKET}/pictures", StorageOptions(endpoint=endpoint))
    for part in (0, 1, 10):
        bucket.write(f"part-{part}.zip", data)
    bucket.write("notes.txt", b"")
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    source = open_images(f"s3://{BUCKET}/pictures/part-*.zip", resolution=8)
    assert list(source.provenance["archive_files"]) == ["part-0.zip", "part-1.zip", "part-10.zip"]
    assert len(source.ids) == 3 * archives.EXAMPLES
    assert (source.read(0) == open_images(tmp_path / "images.zip", resolution=8).read(0)).all()
    assert open_images(f"s3://{BUCKET}/pictures/", resolution=8).ids == source.ids
    bucket.delete(["part-1.zip"])
    with pytest.raises(ArchiveError, match=r"part-1\.zip: the server has no such file"):
        source.check_unchanged()
