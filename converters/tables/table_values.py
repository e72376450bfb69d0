"""Values of a table's column as an archive of files, or as one array, whichever file of the table each is in."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from converters.tables.bytes_column import PAGE_BYTES
from converters.tables.columns import DataColumn, is_list, number_type
from converters.tables.hub_layout import TableFiles
from converters.tables.parquet_files import ParquetTable
from functa_store.errors import ArchiveError, MemberError
from functa_store.sources.source import Reject
from functa_store.support.memory import LRUCache
from functa_store.support.optional import require

_LOOKED_AT = 100
_GROUP_BYTES = 256 << 20
"""Bytes of row groups of lists that stay in memory."""


def example_ids(tables: Sequence[ParquetTable], suffix: str = "") -> list[str]:
    """What rows are called by default: the file's name and the number of the row in it, as wide as the largest one."""
    found: list[str] = []
    for table in tables:
        width = len(str(max(0, table.num_rows - 1)))
        found += [f"{table.place}/{row:0{width}}{suffix}" for row in range(table.num_rows)]
    return found


class TableArchive:
    """The bytes in a column, a member for each row; see `converters.archives.archive.Archive`.

    Members are in the order of the table: of splits, files and rows.

    Args:
        files: The table.
        column: Which column.
        members: What rows are called, unique.
        by_place: Whether these are those of `example_ids`.

    Raises:
        ArchiveError: If two rows have one name, or a file has no such column.
    """

    def __init__(self, files: TableFiles, column: DataColumn, members: list[str], *, by_place: bool) -> None:
        self.name, self.members, self.rejects = files.name, members, list[Reject]()
        self._files = files
        self._columns = [file.table.values(column.leaf) for file in files.files]
        self._starts = _starts([file.table for file in files.files])
        self._rows = None if by_place else {member: row for row, member in enumerate(members)}
        self._places = {file.table.place: int(self._starts[k]) for k, file in enumerate(files.files)}
        self._missing = f"has no bytes in column {column.name!r}"
        if column.path is not None:
            self._missing += (
                "; if it has a path alone, save the data set with its files in it (datasets' push_to_hub does)"
            )
        self._kept = LRUCache[Any](PAGE_BYTES, keeps_last=True)
        if self._rows is not None and len(self._rows) < len(members):
            seen = set[str]()
            twice = next(member for member in members if member in seen or seen.add(member))
            raise ArchiveError(
                f"{self.name}: {twice!r:.200} is the id of two rows; name another column by --ids, or none"
            )

    def read(self, member: str) -> bytes:
        """All bytes of a row; see `Archive.read`."""
        row = self.row(member)
        file = int(np.searchsorted(self._starts, row, side="right")) - 1
        data = self._columns[file].read(row - int(self._starts[file]), self._kept)
        if data is None:
            raise MemberError(self._missing)
        return data

    def row(self, member: str) -> int:
        """The row of a member, counted over all files.

        Raises:
            MemberError: If there is no such member.
        """
        if self._rows is not None:
            row = self._rows.get(member)
        else:
            place, _, number = member.rpartition("/")
            digits = number.partition(".")[0]
            start = self._places.get(place)
            row = start + int(digits) if start is not None and digits.isdecimal() else None
        if row is None or row >= len(self.members) or self.members[row] != member:
            raise MemberError("is not in the table")
        return row

    def slow_reads(self) -> int:
        """Bytes that are unpacked to read a single value of the first row group; 0 if it can be read where it lies."""
        return self._columns[0].most_unpacked(self._kept)

    def sha256(self) -> str:
        """See `TableFiles.sha256`."""
        return self._files.sha256()

    def described(self, *, read: bool) -> dict[str, Any]:
        """See `TableFiles.described`."""
        return self._files.described(read=read)

    def check_unchanged(self) -> None:
        """See `Archive.check_unchanged`."""
        self._files.check_unchanged()


def _starts(tables: Sequence[ParquetTable]) -> np.ndarray:
    """The first row of each file, counted over all of them."""
    return np.array([0, *itertools.accumulate(table.num_rows for table in tables)][:-1], np.int64)


class TableArray:
    """A column of lists as one array, read by row group where it is indexed; see `array_blocks.ArrayLike`.

    Args:
        files: The table.
        name: Of the column.
        expected: Shape that the data set says each row has; None takes that of the first row.

    Attributes:
        shape: (rows, *that of a row).
        dtype: Of the numbers.
        chunks: Rows that are stored together, in the first row group.

    Raises:
        ArchiveError: If the first row has no shape.
    """

    def __init__(self, files: TableFiles, name: str, expected: tuple[int, ...] | None) -> None:
        self._tables = [file.table for file in files.files]
        self._name, self._starts = name, _starts(self._tables)
        self._kept = LRUCache[Any](_GROUP_BYTES, keeps_last=True)
        rows = sum(table.num_rows for table in self._tables)
        if rows == 0:
            raise ArchiveError(f"{files.name}: no examples; every file is empty")
        self.dtype = _common_type(self._tables, name)
        self.shape = (rows, *(self._shape_of_rows(files.name) if expected is None else expected))
        self.chunks = (max(1, int(self._tables[0].group_rows[1])),)

    def __getitem__(self, key: slice) -> np.ndarray:
        """Some rows.

        Raises:
            MemberError: If they cannot be read, or one has another shape; the message is the reason alone.
        """
        start, stop, _ = key.indices(self.shape[0])
        parts = []
        for file, table in enumerate(self._tables):
            first = int(self._starts[file])
            low, high = max(start, first), min(stop, first + table.num_rows)
            groups = table.group_rows + first
            for group in range(len(groups) - 1):
                inside = max(low, int(groups[group])), min(high, int(groups[group + 1]))
                if inside[0] < inside[1]:
                    parts.append(self._rows(*inside))
        for part in parts:
            if part.shape[1:] != self.shape[1:]:
                raise MemberError(f"has the shape {part.shape[1:]}, expected {self.shape[1:]}")
        return np.concatenate(parts) if len(parts) > 1 else parts[0]

    def _shape_of_rows(self, archive: str) -> tuple[int, ...]:
        """The shape of the first row that has values."""
        problem = "is empty"
        for row in range(min(sum(table.num_rows for table in self._tables), _LOOKED_AT)):
            try:
                if (first := self._rows(row, row + 1)).size:
                    return first.shape[1:]
            except MemberError as error:
                problem = str(error)
        raise ArchiveError(
            f"{archive}: none of the first rows of column {self._name!r} is an array; the last {problem}"
        )

    def _rows(self, start: int, stop: int) -> np.ndarray:
        """Rows of one row group."""
        file = int(np.searchsorted(self._starts, start, side="right")) - 1
        table, first = self._tables[file], int(self._starts[file])
        group = int(np.searchsorted(table.group_rows, start - first, side="right")) - 1
        values = self._kept.get_or_make(
            (file, group), lambda: _column(table.read_group(group, [self._name])), lambda found: found.nbytes
        )
        low = start - first - int(table.group_rows[group])
        return _as_array(values.slice(low, stop - start)).astype(self.dtype, copy=False)


def _common_type(tables: Sequence[ParquetTable], name: str) -> np.dtype[Any]:
    """The type that holds the numbers of every file.

    Raises:
        ArchiveError: If a file has no such column, or what is not of its kind.
    """
    found: dict[np.dtype[Any], str] = {}
    for table in tables:
        kind = number_type(table.schema.field(name).type) if name in table.schema.names else None
        if kind is None:
            raise ArchiveError(
                f"{table.place}: has no column {name!r} of lists of numbers, expected one as in other files"
            )
        found.setdefault(np.dtype(kind.to_pandas_dtype()), table.place)
    if len({dtype.kind == "b" for dtype in found}) > 1:
        kinds = ", ".join(f"{dtype} in {place}" for dtype, place in found.items())
        raise ArchiveError(f"column {name!r} has truth values in some files and numbers in others: {kinds}")
    return np.result_type(*found)


def _column(table: Any) -> Any:
    column = table.column(0)
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def _as_array(values: Any) -> np.ndarray:
    """Lists of equal lengths, however deep, as an array.

    Raises:
        MemberError: If they are of different lengths, or there are nulls among them.
    """
    pc = require("pyarrow.compute", extra="huggingface")

    shape = [len(values)]
    while True:
        values = getattr(values, "storage", values)  # of an extension's type
        if not is_list(values.type):
            break
        if values.null_count:
            raise MemberError("is null, or has a null among its lists")
        if (size := getattr(values.type, "list_size", None)) is not None:
            length = size
        else:
            lengths = pc.unique(pc.list_value_length(values)).to_pylist()
            if len(lengths) > 1:
                raise MemberError(f"has lists of different lengths, such as {lengths[0]} and {lengths[1]}")
            length = lengths[0] if lengths else 0
        shape.append(length)
        values = values.flatten()
    if values.null_count and str(values.type) not in ("halffloat", "float", "double"):
        raise MemberError(f"has {values.null_count} nulls among whole numbers")
    return values.to_numpy(zero_copy_only=False).reshape(shape)
