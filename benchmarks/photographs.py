"""An archive of photographs at 512x512 from packages of Debian and scikit-image, for the benchmark of images.

    apt-get download lomiri-wallpapers-16.04 lomiri-wallpapers-20.04 mate-backgrounds plasma-workspace-wallpapers
    for package in *.deb; do dpkg-deb -x "$package" packages; done
    python -m benchmarks.photographs packages photographs512.zip

Writes a zip of windows in an ImageFolder layout with splits. Of the packages' pictures only photographs are taken
(CC0, CC BY, CC BY-SA or GPL, by their copyright files); they are scaled to at most 2,560 pixels and cut into windows
that do not overlap.
Photographs are held out whole: every sixth of the packages', and all of scikit-image's, from which nothing is learned.
"""

import argparse
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageOps
from skimage import data

SIZE = 512
MOST = 2560
BACKGROUNDS = [
    "Bridge_by_Sander_Klootwijk",
    "Dragonfly_by_Bolly",
    "Kleiber_by_Lukas_Baubkus",
    "Picture_0B_by_freespace",
    "Picture_1A_by_freespace",
    "Wine_by_Jakkub_Mede",
    "aitzgorri_by_Aitzol_Berasategi",
    "free_by_Peter_Nerlich",
    "friends_by_Aitzol_Berasategi",
    "greentock_by_Peter_Nerlich",
    "life_by_Aitzol_Berasategi",
    "mate/nature/Aqua",
    "mate/nature/Blinds",
    "mate/nature/Dune",
    "mate/nature/Garden",
    "mate/nature/GreenMeadow",
    "mate/nature/LadyBird",
    "mate/nature/RainDrops",
    "mate/nature/Storm",
    "mate/nature/TwoWings",
    "mate/nature/Wood",
    "mate/nature/YellowFlower",
    "picosdeeuropa_by_Aitzol_Berasategi",
    "seeding_by_Clements_Engelhardt",
    "sunset_by_Aitzol_Berasategi",
]
WALLPAPERS = [
    "BytheWater",
    "ColdRipple",
    "ColorfulCups",
    "DarkestHour",
    "EveningGlow",
    "FallenLeaf",
    "Grey",
    "OneStandsOut",
    "Path",
    "summer_1am",
]
EVERY = 6


def photographs(packages: Path) -> Iterator[tuple[str, str, Image.Image]]:
    """Split, name and picture of each photograph.

    Raises:
        FileNotFoundError: If a package is missing.
    """
    files = [packages / f"usr/share/backgrounds/{name}.jpg" for name in BACKGROUNDS]
    files += [packages / f"usr/share/wallpapers/{name}/contents/images/2560x1600.jpg" for name in WALLPAPERS]
    names = [*BACKGROUNDS, *WALLPAPERS]
    for number, (name, path) in enumerate(zip(names, files, strict=True)):
        split = "test" if number % EVERY == EVERY - 1 else "train"
        yield split, name.rpartition("/")[-1], Image.open(path)
    for name in ("astronaut", "chelsea", "coffee", "rocket", "stereo_motorcycle"):
        found = getattr(data, name)()
        yield "test", name, Image.fromarray(found[0] if isinstance(found, tuple) else found)


def windows(picture: Image.Image) -> Iterator[tuple[int, int, Image.Image]]:
    """Top, left and pixels of the windows of a photograph, which is enlarged if it is smaller than one."""
    picture = ImageOps.exif_transpose(picture).convert("RGB")
    scale = min(1.0, MOST / max(picture.size))
    scale = max(scale, SIZE / min(picture.size))
    picture = picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.LANCZOS)
    for top in range(0, picture.height - SIZE + 1, SIZE):
        for left in range(0, picture.width - SIZE + 1, SIZE):
            yield top, left, picture.crop((left, top, left + SIZE, top + SIZE))


def main(argv: list[str] | None = None) -> None:
    """Write the archive."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args(argv)
    with zipfile.ZipFile(args.out, "w", zipfile.ZIP_STORED) as archive:
        for split, name, picture in photographs(args.packages):
            for top, left, window in windows(picture):
                buffer = io.BytesIO()
                window.save(buffer, "JPEG", quality=95)
                member = zipfile.ZipInfo(f"{split}/{name}_{top:04}_{left:04}.jpg")
                archive.writestr(member, buffer.getvalue())


if __name__ == "__main__":
    main()
