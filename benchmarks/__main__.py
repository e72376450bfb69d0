"""Run the benchmarks of speed and memory, one process after the other, and put their tables together.

    python -m benchmarks [--full] [--runs 5] [--folder bench-output]

Writes NAME.json of every benchmark and report.md with all tables. With --full, more sizes; that takes hours on a few
cores. A benchmark that fails is named in the report, and the others still run.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from benchmarks import report

BENCHMARKS: dict[str, list[str]] = {
    "fit": [],
    "outer_step": [],
    "decode": [],
    "sine": [],
    "storage": [],
    "reading": ["--cold-gigabytes", "0"],
    "opening": [],
    "many": [],
    "remote_reading": [],
    "selection": [],
    "parts": [],
    "scale": ["--measure", "1000000", "--shards", "1000"],
    "tensorstore_view": [],
    "loading": [],
    "workers": [],
    "scaling": ["--images", "1000", "10000"],
}
FULL: dict[str, list[str]] = {
    "outer_step": ["--sizes", "128x6", "256x10", "512x15", "128x4-8x8x16", "256x6-8x8x16"],
    "scaling": ["--images", "1000", "10000", "100000"],
}
ROOT = Path(__file__).parents[1]


def run(name: str, options: list[str], folder: Path) -> tuple[str, bool]:
    """Run one benchmark in a process of its own, which leaves nothing on the device.

    Returns:
        Its tables, and whether it succeeded.
    """
    words = [sys.executable, "-m", f"benchmarks.{name}", *options, "--out", str(folder.resolve() / f"{name}.json")]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, cwd=ROOT, check=False)
    failed = f"## {name}\n\nfailed with exit status {done.returncode}.\n"
    return (done.stdout, True) if done.returncode == 0 else (failed, False)


def main(argv: list[str] | None = None) -> int:
    """Run all benchmarks.

    Returns:
        Exit status: 1 if one of them failed.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="more sizes")
    parser.add_argument("--runs", type=report.positive, help="timed runs of each side (default: as each benchmark)")
    parser.add_argument("--folder", type=Path, default=Path("bench-output"))
    args = parser.parse_args(argv)
    args.folder.mkdir(parents=True, exist_ok=True)
    runs = [] if args.runs is None else ["--runs", str(args.runs)]
    parts, succeeded = ["# Benchmarks\n"], True
    for name, options in (BENCHMARKS | (FULL if args.full else {})).items():
        part, fine = run(name, [*options, *runs], args.folder)
        parts, succeeded = [*parts, part], succeeded and fine
        (args.folder / "report.md").write_text("\n".join(parts))
        sys.stdout.write(part + "\n")
        sys.stdout.flush()
    return 0 if succeeded else 1


if __name__ == "__main__":
    sys.exit(main())
