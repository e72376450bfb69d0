"""How much memory does a conversion hold, for few images and for many?

    python -m benchmarks.memory [--images 2000 20000 200000] [--preset]

converts generated archives of 64x64 images, each in a process of its own, with a very small network
(or, with --preset, with celeba64-fast and 200 outer steps), and prints seconds and the peak resident
memory of that process.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

from benchmarks.datasets import GeneratedArchive

CONVERT = """
import dataclasses, json, resource, sys
import functa_store as f
from converters.celeba import open_celeba
archive, out, network, outer = sys.argv[1:]
network = dataclasses.replace(f.NetworkConfig(), **json.loads(network))
outer = dataclasses.replace(f.OuterLoopConfig(), **json.loads(outer))
f.convert(open_celeba(archive), out, f.ConvertConfig(network=network, outer=outer))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
SMALL = {"width": 8, "depth": 3, "modulation_dim": 8}, {"num_steps": 50, "num_points": 64}
PRESET: tuple[dict[str, int], dict[str, int]] = {}, {"num_steps": 200}
KIBIBYTE = 1 if sys.platform == "darwin" else 1024
"""Unit of ru_maxrss."""


def peak_of_conversion(num_images: int, network: dict[str, int], outer: dict[str, int]) -> tuple[float, float]:
    """Seconds and peak resident bytes of one conversion in a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        archive = GeneratedArchive(num_images=num_images).write(pathlib.Path(folder) / "images.zip")
        words = [str(archive), f"{folder}/images.functa", json.dumps(network), json.dumps(outer)]
        began = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", CONVERT, *words], stdout=subprocess.PIPE, text=True, check=True)
        seconds = time.perf_counter() - began
    return seconds, float(done.stdout) * KIBIBYTE


def main(argv: list[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[2000, 20000, 200000])
    parser.add_argument("--preset", action="store_true")
    args = parser.parse_args(argv)
    for num_images in args.images:
        seconds, peak = peak_of_conversion(num_images, *(PRESET if args.preset else SMALL))
        result = {"images": num_images, "seconds": round(seconds, 1), "peak_megabytes": round(peak / 1e6)}
        sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
