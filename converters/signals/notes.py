"""Notes on members of an archive that were read otherwise than they say: told once, and kept in provenance."""

from collections.abc import Mapping, Sequence
from typing import Any

from functa_store.progress import Note, Report

_MOST_NOTES = 20
"""Of those that provenance keeps: an archive may have one for each of a million members."""


def noted(
    name: str, notes: Mapping[str, Sequence[str]], remarks: Mapping[str, Sequence[str]], report: Report
) -> dict[str, Any]:
    """Tell what is odd about some members, and give what provenance keeps of it.

    Args:
        name: The archive.
        notes: What was made of members, in words, where that decides their values.
        remarks: What else is odd about members; it is told, but not kept.
        report: Told of the first one of either, and of how many members there is more to say.

    Returns:
        Under `notes` texts "member: note", the first ones, and under `num_notes` how many there are; nothing if there
        are none.
    """
    for texts in (notes, remarks):
        if found := _texts(texts):
            others = sum(1 for of_member in texts.values() if of_member) - 1
            more = f"; there is the like to say of {others} more" if others else ""
            report(Note(message=f"{name}/{found[0]}{more}"))
    found = _texts(notes)
    return {"notes": found[:_MOST_NOTES], "num_notes": len(found)} if found else {}


def _texts(texts: Mapping[str, Sequence[str]]) -> list[str]:
    return [f"{member}: {text}" for member, of_member in texts.items() for text in of_member]
