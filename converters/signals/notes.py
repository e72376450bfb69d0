"""Notes on members of an archive that were read otherwise than they say: told once, and kept in provenance."""

from collections.abc import Mapping, Sequence
from typing import Any

from functa_store.progress import Note, Report

_MOST_NOTES = 20
"""Of those that provenance keeps: an archive may have one for each of a million members."""


def noted(name: str, notes: Mapping[str, Sequence[str]], report: Report) -> dict[str, Any]:
    """Tell what is odd about some members, and give what provenance keeps of it.

    Args:
        name: The archive.
        notes: What is odd about each member, in words.
        report: Told of the first one, and how many there are.

    Returns:
        Under `notes` texts "member: note", the first ones; nothing if there are none.
    """
    found = [f"{member}: {note}" for member, of_member in notes.items() for note in of_member]
    if not found:
        return {}
    others = sum(1 for of_member in notes.values() if of_member) - 1
    more = f"; there is something to say of {others} other members, too" if others else ""
    report(Note(message=f"{name}/{found[0]}{more}"))
    return {"notes": found[:_MOST_NOTES], "num_notes": len(found)}
