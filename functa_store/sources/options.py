"""Options of archives: the frozen dataclass that every converter has, and how words and JSON become its values."""

import contextlib
import dataclasses
import functools
import inspect
import math
import numbers
import os
import re
import types
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from functa_store.config import whole
from functa_store.errors import ConfigError

O = TypeVar("O", bound="ArchiveOptions")  # noqa: E741

MOST_INTEGER = 2**32
"""Beyond any number of examples, points or cells, and below what libraries cannot count."""

_MOST_CHARACTERS = 100
"""Of a value in a message."""

_ATTRIBUTE = re.compile(r"^ {4}(\w+): (.*)$")


def option(default: Any, *, metavar: str | None = None, is_path: bool = False) -> Any:
    """A field of `ArchiveOptions` of which the command line must know more than its type.

    Args:
        default: Its value if nobody gives one.
        metavar: What the help calls the value; None chooses by its type.
        is_path: Whether it names a file or folder of this machine, which a store does not keep.
    """
    metadata = {"metavar": metavar, "is_path": is_path}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=lambda: dict(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArchiveOptions:
    """Base of a converter's options: checks every field by its type, and goes to JSON and back.

    A subclass is a frozen, keyword-only dataclass whose fields all have defaults. Types of fields are `int`, `float`,
    `str`, `bool`, a `Literal` of words, `tuple[str, ...]`, `Mapping[str, tuple[str, ...]]`, and unions of these and
    None. Its docstring has a line per field under "Attributes:", which becomes the help of the command line. A
    subclass with a `__post_init__` of its own calls this one first.

    Raises:
        ConfigError: If a value is not of its field's type.
    """

    exclusive: ClassVar[Sequence[tuple[str, str]]] = ()
    """Pairs of fields of which only one may be given; a preset's value gives way to what the user says."""

    def __post_init__(self) -> None:
        for name, hint in hints(type(self)).items():
            object.__setattr__(self, name, checked(name, hint, getattr(self, name)))

    def to_plain(self) -> dict[str, Any]:
        """The options as provenance keeps them: JSON values, paths left out, None where an option says nothing."""
        return {name: _plain(getattr(self, name)) for name in hints(type(self)) if not is_path(type(self), name)}

    @classmethod
    def from_plain(cls: type[O], values: Mapping[str, Any]) -> O:
        """The options that `to_plain` wrote; other keys, None and paths are passed over.

        Raises:
            ConfigError: If a value is none that the option may have, an integer is 2**32 or more, or a number is not
                finite.
        """
        known = (name for name in hints(cls) if not is_path(cls, name))
        given = {name: values[name] for name in known if values.get(name) is not None}
        for name, value in given.items():
            _check_size(name, value)
        return cls.of(**given)

    @classmethod
    def of(cls: type[O], **values: Any) -> O:
        """The options with these values, in which lists may be words with commas and paths may be `os.PathLike`.

        Raises:
            ConfigError: If a value is none that the option may have.
        """
        return cls(**{name: checked(name, hints(cls)[name], value) for name, value in values.items()})


@dataclasses.dataclass(frozen=True, kw_only=True)
class SurveyOptions:
    """How much of an archive is taken, and how much of it may be unreadable.

    Attributes:
        limit: Examples at most, the first ones in sorted order; None takes all.
        max_rejects: Fraction of the members taken that may be unreadable, also in a dry run.
        check_first: Members to read now, for a dry run; the others pass unread and the archive
            is not hashed. None reads all.
    """

    limit: int | None = None
    max_rejects: float | int = 0.01
    check_first: int | None = None

    def __post_init__(self) -> None:
        for name, lowest in (("limit", 1), ("check_first", 0)):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, whole(name, value, lowest))
        if not isinstance(self.max_rejects, numbers.Real) or not 0 <= self.max_rejects <= 1:
            raise ConfigError(f"max_rejects must be a fraction in [0, 1], got {self.max_rejects!r}")


def split_options(kind: type[O], given: Mapping[str, Any]) -> tuple[O, SurveyOptions]:
    """The keyword arguments of an `open_*` function, as options of the archive and of its survey.

    Args:
        kind: Class of the archive's options.
        given: Values of fields of `kind` and of `SurveyOptions`.

    Raises:
        ConfigError: If a value is refused.
        TypeError: If there is no such option.
    """
    survey = {field.name for field in dataclasses.fields(SurveyOptions)}
    known = hints(kind)
    if unknown := [name for name in given if name not in survey and name not in known]:
        expected = ", ".join((*known, *sorted(survey)))
        raise TypeError(f"unexpected keyword argument {unknown[0]!r}, expected some of {expected}")
    own = {name: value for name, value in given.items() if name not in survey}
    return kind.of(**own), SurveyOptions(**{name: value for name, value in given.items() if name in survey})


def overlaid_options(kind: type[ArchiveOptions], preset: Mapping[str, Any], typed: Mapping[str, Any]) -> dict[str, Any]:
    """A preset's options overlaid by what the user says; of two that exclude each other, the user's stays."""
    found = {**preset, **typed}
    for pair in kind.exclusive:
        for given, dropped in (pair, pair[::-1]):
            if given in typed and dropped not in typed:
                found.pop(dropped, None)
    return found


@functools.cache
def hints(kind: type) -> dict[str, Any]:
    """The type of each field of a dataclass."""
    found = get_type_hints(kind)
    return {field.name: found[field.name] for field in dataclasses.fields(kind)}


def is_path(kind: type, name: str) -> bool:
    """Whether a field names a file or folder of this machine."""
    return bool(kind.__dataclass_fields__[name].metadata.get("is_path", False))


def is_flag(hint: Any) -> bool:
    """Whether an option is on or off."""
    return hint is bool


def is_several(hint: Any) -> bool:
    """Whether an option lists several values, so that a command line may give it several times."""
    return get_origin(hint) in (tuple, Mapping)


def choices(hint: Any) -> tuple[str, ...] | None:
    """The words that an option may be, if it is one of a few."""
    return next((get_args(part) for part in _parts(hint) if get_origin(part) is Literal), None)


def descriptions(kind: type) -> dict[str, str]:
    """What the docstring of a dataclass, and those of the classes that it is made from, say of each field."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        name = None
        for line in inspect.cleandoc(base.__dict__.get("__doc__") or "").splitlines():
            if match := _ATTRIBUTE.match(line):
                name, found[match[1]] = match[1], match[2]
            elif name and line.startswith(" " * 8):
                found[name] += f" {line.strip()}"
            else:
                name = None
    return {name: text for name, text in found.items() if name in kind.__dataclass_fields__}


def from_word(name: str, hint: Any, word: str) -> Any:
    """The value that a word of a command line means.

    Args:
        name: What messages call the option.
        hint: Its type.
        word: "none" means None where that is a value and texts are not; several names have commas between them.

    Raises:
        ConfigError: If the word means no value of that type, an integer is 2**32 or more, or a number is not finite.
    """
    parts = _parts(hint)
    if type(None) in parts and str not in parts and word.lower() == "none":
        return None
    # One second is 1.0, but a crop of 140, which may be a text, too, is 140.
    for kind in (bool, float) if float in parts and str not in parts else (bool, int, float):
        if kind in parts:
            with contextlib.suppress(ValueError):
                found = _truth(word) if kind is bool else kind(word)
                _check_size(name, found)
                return checked(name, hint, found)
    return checked(name, hint, word)


def checked(name: str, hint: Any, value: Any) -> Any:
    """A value as its field keeps it: words of lists apart, integers and numbers of other libraries as Python's.

    Raises:
        ConfigError: If it is not of the type.
    """
    parts = _parts(hint)
    for part in sorted(parts, key=lambda part: part is not type(value)):
        if (found := _as(part, value)) is not None or (value is None and part is type(None)):
            return found
    raise ConfigError(f"{name} must be {_expected(hint)}, got {_brief(value)}")


def _parts(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if isinstance(hint, types.UnionType) or get_origin(hint) is Union else (hint,)


def _as(kind: Any, value: Any) -> Any:
    """A value as one of a type, or None if it is none."""
    origin = get_origin(kind)
    if origin is Literal:
        return value if isinstance(value, str) and value in get_args(kind) else None
    if origin is tuple:
        return _names(value, ",")
    if origin is Mapping:
        return _lists(value)
    if kind is bool:
        return value if isinstance(value, bool) else None
    if isinstance(value, bool):
        return None
    if kind is int:
        return int(value) if isinstance(value, numbers.Integral) else None
    if kind is float:
        return float(value) if isinstance(value, numbers.Real) else None
    if kind is str and isinstance(value, str | os.PathLike):
        return os.fspath(value)
    return None


def _names(value: Any, separator: str) -> tuple[str, ...] | None:
    """Texts, of which each may hold several with separators between them; None are none."""
    words = [value] if isinstance(value, str) else () if value is None else value
    if not isinstance(words, Sequence) or not all(isinstance(word, str) for word in words):
        return None
    return tuple(part.strip() for word in words for part in word.split(separator) if part.strip())


def _lists(value: Any) -> dict[str, tuple[str, ...]] | None:
    """Lists of texts by name, such as "level=500,850;time=1979"."""
    if isinstance(value, Mapping):
        found = {key: names for key, values in value.items() if (names := _names(values, ",")) and isinstance(key, str)}
        return found if len(found) == len(value) else None
    if (words := _names(value, ";")) is None:
        return None
    lists: dict[str, tuple[str, ...]] = {}
    for word in words:
        key, equals, values = word.partition("=")
        if not equals or not (names := _names(values, ",")):
            return None
        lists[key.strip()] = (*lists.get(key.strip(), ()), *names)
    return lists


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return ";".join(f"{name}={','.join(values)}" for name, values in value.items()) or None
    if isinstance(value, tuple):
        return ",".join(value) or None
    return None if value is False else value


def _truth(word: str) -> bool:
    if word.lower() not in ("true", "false"):
        raise ValueError(word)
    return word.lower() == "true"


def _check_size(name: str, value: Any) -> None:
    if isinstance(value, int) and abs(value) >= MOST_INTEGER:
        raise ConfigError(f"{name} must be below 2**32, got {_brief(value)}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{name} must be finite, got {value}")


def _expected(hint: Any) -> str:
    """What a value should be, in words."""
    words = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", type(None): "none"}
    found = []
    for part in _parts(hint):
        if get_origin(part) is Literal:
            found.append(f"one of {', '.join(get_args(part))}")
        elif get_origin(part) is tuple:
            found.append("names with commas between them")
        elif part in words:
            found.append(words[part])
        else:
            found.append("NAME=VALUE, or several values with commas, lists with semicolons between them")
    return " or ".join(found)


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 3]}..."
