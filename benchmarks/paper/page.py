"""The page: each figure and table beside what is published, and what differs."""

from collections.abc import Mapping

from benchmarks import report
from benchmarks.paper.sizes import Size

NOT_FOUND = "not found"

PUBLISHED: Mapping[str, tuple[tuple[str, str, str], ...]] = {
    "figure2": (("bytes against resolution", NOT_FOUND, "the figure's numbers are in no text that could be read"),),
    "figure3": (
        ("PSNR of CelebA-HQ 64 x 64 against numbers", NOT_FOUND, "bases of 64 to 1,024 numbers are published"),
    ),
    "tables": (
        ("parameters of the MLPs", "83k, 212k, 924k", "Table 2, as docs/how-to/classify.md quotes it"),
        ("accuracy on ShapeNet voxels, ten classes", NOT_FOUND, ""),
    ),
    "figure5": (
        ("FID of samples, CelebA-HQ 64 x 64", "40.4", "in Inception features, as lists of benchmarks quote it"),
    ),
}
"""What is published of each part: quantity, number, remark. Only what could be found counts; nothing is from memory."""

TITLES = {
    "figure2": "Figure 2: bytes against resolution",
    "figure3": "Figure 3: PSNR against the numbers of a modulation",
    "tables": "Tables 2 and 6: classification",
    "figure5": "Figure 5: samples",
}

DIFFERS = {
    "figure2": "Archives of hundreds to thousands of examples, not of tens of thousands, so that a base that is "
    "counted weighs more; small networks and few outer steps, which ask for more numbers at the same PSNR.",
    "figure3": "1,302 portraits of members of parliament, not 30,000 of CelebA-HQ; a network of 64x5, not 512x15; "
    "hundreds of outer steps, not 500,000. Shift modulations of another length are of a network of another width.",
    "tables": "2,592 parts of toy bricks in ten classes, not ShapeNet's models; no augmentations; few epochs of the "
    "networks on arrays.",
    "figure5": "Small archives, and feature spaces that are trained here and are none of Inception's: distances "
    "compare rows of the same kind with each other, and with nothing that is published.",
}


def page(bodies: Mapping[str, str], size: Size) -> str:
    """All parts that are there, in Markdown."""
    parts = [f"# Figures and tables of the functa paper\n\nAt the size of {size.name}.\n"]
    for name, body in bodies.items():
        published = report.table(("published", "number", "remark"), PUBLISHED[name])
        parts.append(f"## {TITLES[name]}\n\n{body}\n{published}\nWhat differs: {DIFFERS[name]}\n")
    return "\n".join(parts)
