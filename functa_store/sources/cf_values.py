"""Values that CF attributes keep packed: scale and offset, missing values and valid ranges, with counts of each.

The rules are those of the CF conventions and of the NetCDF User's Guide: missing values and a valid range are told in
stored numbers, a valid range of floats beside packed integers in values; where there is no _FillValue, what NetCDF
writes into points that nobody has written is missing, bytes apart.
"""

import base64
import dataclasses
import math
import re
import struct
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from functa_store.errors import ArchiveError, ConfigError, MemberError

SCALE, OFFSET, UNSIGNED, FILL, MISSING = "scale_factor", "add_offset", "_Unsigned", "_FillValue", "missing_value"
RANGE, MINIMUM, MAXIMUM = "valid_range", "valid_min", "valid_max"
ATTRIBUTES = (SCALE, OFFSET, UNSIGNED, FILL, MISSING, RANGE, MINIMUM, MAXIMUM)
"""What says how stored numbers are meant, and does not hold of the values any more."""

DEFAULT_FILL, ALL = "default_fill", "all"
IGNORABLE = (*ATTRIBUTES, DEFAULT_FILL, ALL)

DEFAULT_FILLS: Mapping[str, int | float] = {
    "i2": -32767,
    "u2": 65535,
    "i4": -2147483647,
    "u4": 4294967295,
    "i8": -9223372036854775806,
    "u8": 18446744073709551614,
    "f4": 9.969209968386869e36,
    "f8": 9.969209968386869e36,
}
"""What NetCDF writes into points that nobody has written, by the type of numbers; there is none for bytes."""

_HUGE = 1e15
_LIKE_HUGE = 1e-6
"""Fill values beyond the first number are often rounded: float64 in the attribute, float32 in the values."""

_ZERO = "zero"
_MOST_NUMBERS = 64
_EXACT_BITS = 16
"""Integers of at most so many bits are exact in float32."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CfChoices:
    """What a user says of CF attributes.

    Attributes:
        ignore: Attributes that are not believed; `DEFAULT_FILL` and `ALL` beside their names.
        missing_value: More stored numbers that mean missing.

    Raises:
        ConfigError: If there is no such attribute, or something is no number.
    """

    ignore: Sequence[str] = ()
    missing_value: Sequence[str] = ()

    def __post_init__(self) -> None:
        for word in self.ignore:
            if word not in IGNORABLE:
                raise ConfigError(f"ignore must be some of {', '.join(IGNORABLE)}, got {word!r}")
        for word in self.missing_value:
            if numbers_of(word) is None:
                raise ConfigError(f"missing_value must be numbers with commas between them, got {word!r}")

    def ignores(self, attribute: str) -> bool:
        """Whether an attribute is not believed; that of a range stands for its ends."""
        ends = RANGE in self.ignore and attribute in (MINIMUM, MAXIMUM)
        return ALL in self.ignore or attribute in self.ignore or ends


def numbers_of(value: Any) -> list[int | float] | None:
    """The numbers of an attribute, also of one written as text or as Zarr's base64; None if it holds none."""
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if isinstance(value, str):
        return _numbers_of_text(value)
    try:
        values = np.asarray(value).ravel()
    except ValueError:  # lists of several lengths
        return None
    if values.dtype.kind in "SUOT" and 0 < len(values) <= _MOST_NUMBERS:
        parts = [numbers_of(v) if isinstance(v, str | bytes | int | float) else None for v in values.tolist()]
        return None if any(part is None for part in parts) else [n for part in parts if part is not None for n in part]
    if values.dtype.kind not in "iuf" or not 0 < len(values) <= _MOST_NUMBERS:
        return None
    return values.tolist()


def _numbers_of_text(text: str) -> list[int | float] | None:
    found: list[int | float] = []
    for part in filter(None, re.split(r"[\s,\[\]]+", text.strip("\0 "))):
        try:
            found.append(int(part) if re.fullmatch(r"[+-]?\d{1,20}", part) else float(part))
        except ValueError:
            try:
                found.append(struct.unpack("<d", base64.b64decode(part, validate=True))[0])
            except (ValueError, struct.error):
                return None
    return found or None


class CfDecoder:
    """Stored numbers of one variable as values, missing ones as not a number. Safe to call from threads.

    Args:
        name: The variable, for notes and errors.
        dtype: Of the stored numbers.
        attributes: Of the variable.
        choices: What the user says.
        is_field: Whether it is no coordinate, of which a range or a default fill value says nothing.
        is_netcdf: Whether NetCDF's fill values of integers are known to be what it holds where nobody has written.
        zarr_fill: Fill value of an array of Zarr's version 2 by xarray, where it takes the place of `_FillValue`.

    Attributes:
        dtype: Of the values.
        is_field: Whether it is no coordinate.
        counts: How many values are missing for which reason, of those that were read.
        num_values: How many were read.
        doubts: What was found in the attributes and not applied.
        problem: Why no value can be told; None if all is well.
    """

    def __init__(
        self,
        name: str,
        dtype: np.dtype[Any],
        attributes: Mapping[str, Any],
        choices: CfChoices,
        *,
        is_field: bool = True,
        is_netcdf: bool = False,
        zarr_fill: Any = None,
    ) -> None:
        self.name, self.is_field, self._choices = name, is_field, choices
        self._stored = np.dtype(dtype).newbyteorder("=")
        self._given = {key: attributes[key] for key in ATTRIBUTES if key in attributes and not choices.ignores(key)}
        self._has_fill = FILL in attributes
        self.counts: dict[str, int] = {}
        self.num_values = 0
        self.doubts: list[str] = []
        self.problem: str | None = None
        self._lock = threading.Lock()
        self._raw = self._stored
        self._missing: list[tuple[str, Any]] = []
        self._low = self._high = None
        self._range_of_values = False
        self.scale, self.offset = 1.0, 0.0
        if self._stored.kind in "iuf":
            self._raw = self._signedness()
            self.scale, self.offset = self._number(SCALE, 1.0), self._number(OFFSET, 0.0)
            self._find_missing(is_field=is_field, is_netcdf=is_netcdf, zarr_fill=zarr_fill)
            if is_field:
                self._find_range()
        self.dtype: np.dtype[Any] = np.dtype(dtype) if self.is_plain else self._values_dtype()

    @property
    def is_scaled(self) -> bool:
        """Whether values are others than the stored numbers."""
        return self.scale != 1 or self.offset != 0

    @property
    def keeps_integers(self) -> bool:
        """Whether values are whole numbers, where they are not missing."""
        return self._stored.kind in "biu" and not self.is_scaled

    @property
    def formula(self) -> str | None:
        """How values are made of the stored numbers, in words; None if they are the same."""
        if not self.is_scaled and self._raw == self._stored:
            return None
        unsigned = "" if self._raw == self._stored else f" as {self._raw.name}"
        return (
            f"{self.name}: values are stored {self._stored.name}{unsigned} times {self.scale:g} plus {self.offset:g}, "
            "as the attributes say (--ignore all takes the stored numbers)"
        )

    @property
    def is_plain(self) -> bool:
        """Whether values are the stored numbers, and nothing is to be looked for."""
        masks = self._missing or self._low is not None or self._high is not None
        return not (self.is_scaled or masks or self._raw != self._stored or self.problem)

    def __call__(self, stored: np.ndarray, counted: np.ndarray | None = None) -> np.ndarray:
        """The values of some stored numbers.

        Args:
            stored: The numbers.
            counted: Which of them, along the first axis, are counted; None counts all.

        Raises:
            MemberError: If an attribute makes no sense; the message is the reason alone.
        """
        if self.problem is not None:
            raise MemberError(self.problem)
        if self.is_plain:
            return stored
        stored = np.asarray(stored).astype(self._stored, copy=False)  # in the machine's order of bytes
        found = [(reason, _equal(stored, number, exact=reason == DEFAULT_FILL)) for reason, number in self._missing]
        raw = stored if self._raw == self._stored else stored.view(self._raw)
        values = raw.astype(self.dtype)
        if self.is_scaled:
            values = values * self.scale + self.offset
        with np.errstate(invalid="ignore"):
            compared = values if self._range_of_values else raw
            if self._low is not None:
                found.append((RANGE, compared < self._low))
            if self._high is not None:
                found.append((RANGE, compared > self._high))
        self._mask(values, found, slice(None) if counted is None else counted)
        return values

    def _mask(self, values: np.ndarray, found: Iterable[tuple[str, np.ndarray]], counted: Any) -> None:
        """Make what is missing not a number, and count it, each value by one reason."""
        lacking = np.zeros(values.shape, bool)
        counts: dict[str, int] = {}
        for reason, hit in found:
            new = hit if reason == _ZERO else hit & ~lacking
            counts[reason] = counts.get(reason, 0) + int(np.count_nonzero(new[counted] if new.ndim else new))
            if reason != _ZERO:
                lacking |= hit
        if lacking.any():
            values[lacking] = np.nan
        with self._lock:
            self.num_values += values[counted].size if values.ndim else 1
            for reason, count in counts.items():
                self.counts[reason] = self.counts.get(reason, 0) + count

    def _signedness(self) -> np.dtype[Any]:
        """The type of integers that `_Unsigned` says the stored ones are."""
        word = self._given.get(UNSIGNED)
        word = (word.decode(errors="replace") if isinstance(word, bytes) else str(word)).strip("\0 ").lower()
        if self._stored.kind == "i" and word in ("true", "1"):
            return np.dtype(f"u{self._stored.itemsize}")
        if self._stored.kind == "u" and word in ("false", "0"):
            return np.dtype(f"i{self._stored.itemsize}")
        return self._stored

    def _number(self, attribute: str, otherwise: float) -> float:
        """A scale or an offset."""
        if attribute not in self._given:
            return otherwise
        found = numbers_of(self._given[attribute])
        if found is None or len(found) != 1 or not math.isfinite(found[0]) or (attribute == SCALE and found[0] == 0):
            expected = "one number other than 0" if attribute == SCALE else "one number"
            self.problem = self.problem or (
                f"{attribute} is {str(self._given[attribute])[:100]!r}, expected {expected}; repair it, or take the "
                f"numbers without it: --ignore {attribute}"
            )
            return otherwise
        return float(found[0])

    def _find_missing(self, *, is_field: bool, is_netcdf: bool, zarr_fill: Any) -> None:
        for attribute in (FILL, MISSING):
            if attribute in self._given:
                self._add_missing(attribute, self._given[attribute])
        if is_field:
            for word in self._choices.missing_value:
                self._add_missing("--missing-value", word)
        stands = self._has_fill
        if zarr_fill is not None and not stands and not self._choices.ignores(FILL):
            numbers = numbers_of(zarr_fill) or []
            if stands := any(number != 0 for number in numbers):
                self._add_missing(FILL, zarr_fill)
            elif numbers and is_field and not any(number == 0 for _, number in self._missing):
                self._missing.append((_ZERO, self._stored.type(0)))  # counted, and kept
        default = DEFAULT_FILLS.get(f"{self._stored.kind}{self._stored.itemsize}")
        believed = is_field and (is_netcdf or self._stored.kind == "f") and not self._choices.ignores(DEFAULT_FILL)
        if default is not None and believed and not stands:
            self._add_missing(DEFAULT_FILL, default)

    def _add_missing(self, reason: str, value: Any) -> None:
        """Enter the stored numbers that an attribute says mean missing."""
        numbers = numbers_of(value)
        if numbers is None:
            self.doubts.append(f"{reason} {str(value)[:100]!r} is no number; not applied")
        for number in numbers or ():
            if isinstance(number, float) and math.isnan(number):
                continue  # is not a number already
            if (stored := self._as_stored(number)) is None:
                self.doubts.append(f"{reason} {number:g} is none that {self._stored.name} can hold; not applied")
            else:
                self._missing.append((reason, stored))

    def _as_stored(self, number: int | float) -> Any:
        """A number as a stored one, of which `_Unsigned` may tell either way; None if it cannot be one."""
        if self._stored.kind == "f":
            with np.errstate(over="ignore"):
                found = self._stored.type(number)
            return None if np.isinf(found) and not math.isinf(number) else found
        if not math.isfinite(number) or int(number) != number:
            return None
        bits, bounds, number = 8 * self._stored.itemsize, np.iinfo(self._stored), int(number)
        if self._raw.kind == "u" and -(2 ** (bits - 1)) <= number < 2**bits:  # told in either signedness
            number %= 2**bits
            number -= 2**bits if number > bounds.max else 0
        return self._stored.type(number) if bounds.min <= number <= bounds.max else None

    def _find_range(self) -> None:
        told: list[Any] = [self._given.get(MINIMUM), self._given.get(MAXIMUM)]
        if RANGE in self._given:
            both = numbers_of(self._given[RANGE])
            told = list(both) if both is not None and len(both) == 2 else [self._given[RANGE]] * 2
        ends: list[int | float | None] = []
        for value in told:
            numbers = None if value is None else numbers_of(value)
            if value is not None and (numbers is None or len(numbers) != 1 or math.isnan(numbers[0])):
                self.doubts.append(f"valid range {str(value)[:100]!r} is no pair of numbers; not applied")
                return
            ends.append(None if numbers is None else numbers[0])
        # The NetCDF User's Guide: in values if it has their type and packed numbers are of a narrower one.
        floats = [isinstance(end, float) for end in ends if end is not None]
        self._range_of_values = self.is_scaled and self._stored.kind in "iu" and any(floats)
        low, high = (self._end(end, sign) for end, sign in zip(ends, (-1, 1), strict=True))
        if low is not None and high is not None and low > high:
            self.doubts.append(f"valid range from {low:g} to {high:g} holds no number; not applied")
            return
        self._low, self._high = low, high

    def _end(self, end: int | float | None, sign: int) -> Any:
        """An end of the valid range as it is compared."""
        if end is None or math.isinf(end):
            return None
        if self._range_of_values:
            return end + sign * (abs(self.scale) / 100 + 1e-6 * abs(end))  # the ends themselves are valid
        if self._raw.kind == "f":
            with np.errstate(over="ignore"):
                return self._raw.type(end)
        if self._raw != self._stored and self._raw.kind == "u" and end < 0:
            return int(end) % 2 ** (8 * self._raw.itemsize)
        return end

    def _values_dtype(self) -> np.dtype[Any]:
        if self.is_plain:
            return self._stored
        if self.is_scaled:
            return np.dtype(np.float64)
        masks = any(reason != _ZERO for reason, _ in self._missing) or self._low is not None or self._high is not None
        if not masks:
            return self._raw
        if self._raw.kind == "f":
            return np.dtype(np.float32) if self._raw.itemsize < np.dtype(np.float32).itemsize else self._raw
        return np.dtype(np.float32 if 8 * self._raw.itemsize <= _EXACT_BITS else np.float64)


def _equal(stored: np.ndarray, number: Any, *, exact: bool) -> np.ndarray:
    if not exact and stored.dtype.kind == "f" and abs(number) >= _HUGE and np.isfinite(number):
        with np.errstate(invalid="ignore", over="ignore"):
            return np.abs(stored / number - 1) <= _LIKE_HUGE
    return stored == number


class DecodedArray:
    """An array whose values are decoded where it is indexed by a slice; see `array_blocks.ArrayLike`.

    What is missing is counted once, however often an example is read.

    Args:
        stored: The array as it is stored.
        decoder: What makes values of it.
    """

    def __init__(self, stored: Any, decoder: CfDecoder) -> None:
        self.shape, self.dtype = tuple(stored.shape), decoder.dtype
        self.chunks = getattr(stored, "chunks", None)
        self._stored, self._decoder = stored, decoder
        self._is_new = np.ones(self.shape[:1], bool)
        self._lock = threading.Lock()

    def __getitem__(self, key: slice, /) -> np.ndarray:
        found = np.asarray(self._stored[key])  # before it counts as read
        with self._lock:
            new = self._is_new[key].copy()
            self._is_new[key] = False
        return self._decoder(found, new)


def check_decoders(where: str, decoders: Iterable[CfDecoder]) -> None:
    """Refuse variables whose attributes make no sense.

    Raises:
        ArchiveError: If one does; says how to do without it.
    """
    for decoder in decoders:
        if decoder.problem is not None:
            raise ArchiveError(f"{where}: {decoder.name}: {decoder.problem}")


def masking_notes(decoders: Iterable[CfDecoder]) -> list[str]:
    """What was masked and what was not applied, a line for each variable, decoders of one name taken together."""
    total: dict[str, int] = {}
    counts: dict[str, dict[str, int]] = {}
    doubts: dict[str, None] = {}
    for decoder in decoders:
        total[decoder.name] = total.get(decoder.name, 0) + decoder.num_values
        own = counts.setdefault(decoder.name, {})
        for reason, count in decoder.counts.items():
            own[reason] = own.get(reason, 0) + count
        doubts |= dict.fromkeys(f"{decoder.name}: {doubt}" for doubt in decoder.doubts)
    notes = []
    for name, own in counts.items():
        masked = [f"{count} by {_in_words(reason)}" for reason, count in own.items() if count and reason != _ZERO]
        if masked:
            notes.append(f"{name}: of {total[name]} values that were read are taken as missing: {', '.join(masked)}")
        if zeros := own.get(_ZERO, 0):
            notes.append(
                f"{name}: {zeros} of {total[name]} values that were read are 0, which is Zarr's fill value, too; kept "
                "as numbers, since no attribute says that they are missing (--missing-value 0 does)"
            )
    return [*notes, *doubts]


def _in_words(reason: str) -> str:
    if reason == DEFAULT_FILL:
        return "NetCDF's fill value, as no _FillValue stands (--ignore default_fill keeps them)"
    return f"{RANGE} (--ignore {RANGE} keeps them)" if reason == RANGE else reason
