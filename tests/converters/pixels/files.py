"""Small archives of CIFAR, MNIST and MedMNIST, written as their publishers wrote them."""

import gzip
import io
import struct
import tarfile

import numpy as np

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def planes(pictures):
    """CIFAR's rows: the red plane, the green and the blue one."""
    return pictures.transpose(0, 3, 1, 2).reshape(len(pictures), -1)


def write_tar(path, files):
    with tarfile.open(path, "w:gz" if path.name.endswith(("gz", "tgz")) else "w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def write_folder(path, files):
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def binary_batch(pictures, *labels):
    return np.concatenate([np.stack(labels, axis=1).astype(np.uint8), planes(pictures)], axis=1).tobytes()


def python2_string(text):
    if len(text) < 256:
        return b"U" + bytes([len(text)]) + text
    return b"T" + struct.pack("<i", len(text)) + text


def python2_list(items):
    return b"](" + b"".join(items) + b"e"


def python2_array(values):
    """As cPickle of Python 2 wrote an array of bytes by protocol 2."""
    shape = b"".join(b"M" + struct.pack("<H", n) for n in values.shape)
    return b"".join(
        [
            b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85",
            python2_string(b"b"),
            b"\x87R(K\x01",
            shape,
            b"\x86cnumpy\ndtype\n",
            python2_string(b"u1"),
            b"K\x00K\x01\x87R(K\x03",
            python2_string(b"|"),
            b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89",
            python2_string(values.tobytes()),
            b"tb",
        ]
    )


def python2_batch(pictures, **labels):
    fields = [python2_string(b"batch_label"), python2_string(b"a batch")]
    fields += [python2_string(b"data"), python2_array(planes(pictures))]
    for name, values in labels.items():
        fields += [python2_string(name.encode()), python2_list([b"K" + bytes([int(v)]) for v in values])]
    return b"\x80\x02}(" + b"".join(fields) + b"u."


def python2_names(**names):
    fields = []
    for name, texts in names.items():
        fields += [python2_string(name.encode()), python2_list([python2_string(text.encode()) for text in texts])]
    return b"\x80\x02}(" + b"".join(fields) + b"u."


def idx(values):
    """An array in the IDX format."""
    kind = {"uint8": 0x08, "int32": 0x0C}[values.dtype.name]
    head = bytes([0, 0, kind, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    return head + values.astype(values.dtype.newbyteorder(">")).tobytes()


def idx_files(prefix="", counts=(12, 4), *, packed=True, grid=(28, 28), parts=("train", "t10k")):
    """Files of pictures and labels by name, and the pictures and labels of each part."""
    files, arrays = {}, {}
    for seed, (part, count) in enumerate(zip(parts, counts, strict=True)):
        images, labels = pixels(count, *grid, seed=seed), (np.arange(count) % 10).astype(np.uint8)
        arrays[part] = images, labels
        for name, values in (
            (f"images-idx3-ubyte{'.gz' * packed}", images),
            (f"labels-idx1-ubyte{'.gz' * packed}", labels),
        ):
            files[f"{prefix}{part}-{name}"] = gzip.compress(idx(values)) if packed else idx(values)
    return files, arrays
