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
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from functa_store.config import MOST_INTEGER, at_least, number
from functa_store.errors import ConfigError
from functa_store.support.shortening import brief

O = TypeVar("O", bound="ArchiveOptions")  # noqa: E741

_MOST_CHARACTERS = 100
"""Of a value in a message."""

_SUPPORTED = (
    "int, float, str, bool, a Literal of texts, tuple[str, ...], Mapping[str, tuple[str, ...]], or a union of them"
)
"""Types of fields, in words; beside these None."""

_KEPT = ("archive", "sha256", "archive_files", "converter", "versions")
"""What provenance says of every archive, so that no option may be called so."""

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
    None; a converter with another one is left out when converters are loaded. A text is split at commas where a list
    is expected, a list is taken as it is. Integers are below 2**32, and numbers finite. Its docstring has a line per
    field under "Attributes:", which becomes the help of the command line. A subclass with a `__post_init__` of its own
    calls this one first.

    Raises:
        ConfigError: If a value is not of its field's type.
    """

    exclusive: ClassVar[Sequence[tuple[str, str]]] = ()
    """Pairs of fields of which only one may be given; a preset's value gives way to what the user says."""

    def __post_init__(self) -> None:
        for name, hint in hints(type(self)).items():
            object.__setattr__(self, name, checked(name, hint, getattr(self, name)))

    def reopening(self: O) -> O:
        """Options by which the same examples come, perhaps beside others, at less cost; workers choose by ids."""
        return self

    def to_plain(self) -> dict[str, Any]:
        """The options as provenance keeps them: JSON values, paths left out, None where an option says nothing."""
        kept = (name for name in hints(type(self)) if not is_path(type(self), name))
        return {name: _plain(name, type(self), getattr(self, name)) for name in kept}

    @classmethod
    def from_plain(cls: type[O], values: Mapping[str, Any]) -> O:
        """The options that `to_plain` wrote; other keys and paths are passed over.

        Raises:
            ConfigError: If a value is none that the option may have.
        """
        given = {name: values[name] for name in hints(cls) if name in values and not is_path(cls, name)}
        nulls = {name: _null(name, cls) for name, value in given.items() if value is None}
        return cls.of(**{name: None if value == [None] else value for name, value in (given | nulls).items()})

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
        limit: Examples at most, their augmentations not counted, the first ones in sorted order; None takes all.
        max_rejects: Fraction of the members taken that may be unreadable, also in a dry run.
        check_first: Members to read now, for a dry run; the others pass unread and the archive
            is not hashed. None reads all.
    """

    limit: int | None = None
    max_rejects: float | int = 0.01
    check_first: int | None = None

    def __post_init__(self) -> None:
        at_least(self, 1, "limit")
        at_least(self, 0, "check_first")
        if not 0 <= (fraction := number("max_rejects", self.max_rejects)) <= 1:
            raise ConfigError(f"max_rejects must be a fraction in [0, 1], got {fraction}")
        object.__setattr__(self, "max_rejects", fraction)


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


def gathered(name: str, before: Any, value: Any) -> Any:
    """What an option lists that is given once more.

    Raises:
        ConfigError: If it lists nothing, as None does, so that one of the two would be lost.
    """
    if isinstance(before, tuple) and isinstance(value, tuple):
        return (*before, *value)
    if isinstance(before, Mapping) and isinstance(value, Mapping):
        return {**before, **{key: (*before.get(key, ()), *listed) for key, listed in value.items()}}
    raise ConfigError(f"{name} is given twice, as {brief(before)} and as {brief(value)}, which contradict each other")


def check_options(kind: Any) -> None:
    """Refuse a class of options that the command line or provenance cannot serve; ask when a converter is loaded.

    Raises:
        ConfigError: If it is no frozen dataclass made from `ArchiveOptions`, or a field has no default, one that is
            not of its type, or a type or name that no option may have.
    """
    if not (isinstance(kind, type) and issubclass(kind, ArchiveOptions)):
        raise ConfigError(f"options is {brief(kind)}, expected a class made from ArchiveOptions")
    name = kind.__name__
    if "__dataclass_fields__" not in vars(kind) and inspect.get_annotations(kind):
        raise ConfigError(f"{name} is no dataclass; write @dataclasses.dataclass(frozen=True, kw_only=True) above it")
    try:
        fields = hints(kind)
    except Exception as error:  # whatever stands in an annotation
        raise ConfigError(f"{name}: its types cannot be read: {error}") from error
    taken = (*_KEPT, *(field.name for field in dataclasses.fields(SurveyOptions)))
    if clashing := [field for field in fields if field in taken]:
        raise ConfigError(f"{name}.{clashing[0]}: every archive has that already; choose another name")
    for field, hint in fields.items():
        if not all(map(_is_supported, _parts(hint))):
            raise ConfigError(f"{name}.{field} is of type {brief(hint)}, expected {_SUPPORTED} and None")
        if (default := _default(field, kind)) is dataclasses.MISSING:
            raise ConfigError(
                f"{name}.{field} has no default, expected one; take None for an option that must be given"
            )
        checked(f"the default of {name}.{field}", hint, default)
    if unknown := [field for pair in kind.exclusive for field in pair if field not in fields]:
        raise ConfigError(f"{name}.exclusive names {unknown[0]}, expected some of {', '.join(fields)}")


def _is_supported(part: Any) -> bool:
    if get_origin(part) is Literal:
        return all(isinstance(word, str) for word in get_args(part))
    if get_origin(part) is tuple:
        return get_args(part) == (str, ...)
    if get_origin(part) is Mapping:
        return get_args(part)[0] is str and get_origin(get_args(part)[1]) is tuple and _is_supported(get_args(part)[1])
    return part in (int, float, str, bool, type(None))


def _default(name: str, kind: type) -> Any:
    field = kind.__dataclass_fields__[name]
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


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
    """Whether an option lists several names, so that a command line may give it several times."""
    return any(get_origin(part) in (tuple, Mapping) and not _is_integers(part) for part in _parts(hint))


def _is_integers(part: Any) -> bool:
    return get_origin(part) is tuple and get_args(part)[0] is int


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
    if type(None) in parts and str not in parts and word.lower() == "none" and word not in (choices(hint) or ()):
        return None
    # One second is 1.0, but a crop of 140, which may be a text, too, is 140.
    for kind in (bool, float) if float in parts and str not in parts else (bool, int, float):
        if kind in parts:
            try:
                found = _READERS[kind](word)
            except ValueError:
                continue
            if str not in parts or not _is_named(found, word):
                return checked(name, hint, found)
    return checked(name, hint, word)


def _is_named(found: Any, word: str) -> bool:
    """Whether a number is written as a word such as "inf", which may be meant as a text."""
    return isinstance(found, float) and word.strip().lstrip("+-").isalpha()


def _integer(word: str) -> int:
    digits = word.strip().lstrip("+-")
    return MOST_INTEGER if len(digits) > _MOST_CHARACTERS and digits.isdecimal() else int(word)


def _truth(word: str) -> bool:
    if word.lower() not in ("true", "false"):
        raise ValueError(word)
    return word.lower() == "true"


_READERS: Mapping[type, Callable[[str], Any]] = {bool: _truth, int: _integer, float: float}


def checked(name: str, hint: Any, value: Any) -> Any:
    """A value as its field keeps it: words of lists apart, integers and numbers of other libraries as Python's.

    Raises:
        ConfigError: If it is not of the type, an integer is 2**32 or more, or a number is not finite.
    """
    parts = _parts(hint)
    for part in sorted(parts, key=lambda part: part is not type(value)):
        if (found := _as(part, value)) is not None or (value is None and part is type(None)):
            if isinstance(found, int) and abs(found) >= MOST_INTEGER:
                raise ConfigError(f"{name} must be below 2**32, got {brief(value)}")
            if isinstance(found, float) and not math.isfinite(found):
                raise ConfigError(f"{name} must be finite, got {brief(value)}")
            return found
    is_word = type(None) in parts and isinstance(value, str) and value.lower() == "none"
    advice = ", which is a text here; write null in a file, and None in Python" if is_word else ""
    raise ConfigError(f"{name} must be {_expected(hint)}, got {brief(value)}{advice}")


def _parts(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if isinstance(hint, types.UnionType) or get_origin(hint) is Union else (hint,)


def _as(kind: Any, value: Any) -> Any:
    """A value as one of a type, or None if it is none."""
    origin = get_origin(kind)
    if origin is Literal:
        return value if isinstance(value, str) and value in get_args(kind) else None
    if _is_integers(kind):
        return _integers(value)
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
        return number("", value) if isinstance(value, numbers.Real) else None
    if kind is str and isinstance(value, str | os.PathLike):
        return os.fspath(value)
    return None


def _names(value: Any, separator: str) -> tuple[str, ...] | None:
    """Texts: those between separators of one text, or those of a list as they are; None are none."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(separator) if part.strip())
    if value is None or (isinstance(value, Sequence) and all(isinstance(word, str) for word in value)):
        return tuple(word for word in value or () if word)
    return None


def _integers(value: Any) -> tuple[int, ...] | None:
    """Whole numbers: those between commas of a text, or those of a list."""
    if isinstance(value, str):
        words = value.split(",")
        return tuple(map(_integer, words)) if all(word.strip().isdecimal() for word in words) else None
    if isinstance(value, Sequence) and all(isinstance(n, numbers.Integral) and not isinstance(n, bool) for n in value):
        return tuple(map(int, value)) or None
    return None


def _lists(value: Any) -> dict[str, tuple[str, ...]] | None:
    """Lists of texts by name, such as "level=500,850;time=1979"."""
    if isinstance(value, Mapping):
        found = {key: names for key, values in value.items() if (names := _names(values, ",")) and isinstance(key, str)}
        return found if len(found) == len(value) else None
    if (words := _names(value, ";")) is None:
        return None
    lists: dict[str, tuple[str, ...]] = {}
    for word in ";".join(words).split(";") if words else ():
        key, equals, values = word.partition("=")
        if not equals or not (names := _names(values, ",")):
            return None
        lists[key.strip()] = (*lists.get(key.strip(), ()), *names)
    return lists


def _plain(name: str, kind: type[ArchiveOptions], value: Any) -> Any:
    """An option as JSON: lists as one text, and nothing as null, where that is read as the same again.

    Elsewhere, as of names with commas, lists are lists, and None is a list of null.
    """
    if _is_nothing(value):
        meant = _null(name, kind)
        if type(meant) is type(value) and meant == value:
            return None
        return [None] if value is None else [] if isinstance(value, tuple) else value
    if not isinstance(value, tuple | Mapping):
        return value
    if isinstance(value, tuple):
        usual = ",".join(value)
    else:
        usual = ";".join(f"{key}={','.join(listed)}" for key, listed in value.items())
    with contextlib.suppress(ConfigError):
        if checked(name, hints(kind)[name], usual) == value:
            return usual
    return list(value) if isinstance(value, tuple) else {key: list(listed) for key, listed in value.items()}


def _null(name: str, kind: type[ArchiveOptions]) -> Any:
    """What null in provenance means: a default that says nothing, or else what says nothing of those that may be."""
    default, parts = checked(name, hints(kind)[name], _default(name, kind)), _parts(hints(kind)[name])
    if _is_nothing(default):
        return default
    if type(None) in parts:
        return None
    empty: Mapping[Any, Any] = {bool: False, tuple: (), Mapping: {}}
    return next((empty[part] for part in (get_origin(part) or part for part in parts) if part in empty), default)


def _is_nothing(value: Any) -> bool:
    return value is None or value is False or (isinstance(value, tuple | Mapping) and not value)


def _expected(hint: Any) -> str:
    """What a value should be, in words."""
    words = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", type(None): "none"}
    found = []
    for part in _parts(hint):
        if get_origin(part) is Literal:
            found.append(f"one of {', '.join(get_args(part))}")
        elif _is_integers(part):
            found.append("whole numbers with commas between them")
        elif get_origin(part) is tuple:
            found.append("names with commas between them")
        elif part in words:
            found.append(words[part])
        else:
            found.append("NAME=VALUE, or several values with commas, lists with semicolons between them")
    return " or ".join(found)
