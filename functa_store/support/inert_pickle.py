"""Pickles of strangers as inert values: their opcodes are interpreted, and nothing is imported, called or executed.

A pickle is a program. `pickletools` splits it into instructions; those that build arrays of NumPy, numbers, texts and
plain containers are carried out here, and any other ends the reading. Objects of a few classes that hold parameters
and settings become `Inert`: a name with what it was to be made from.
"""

import dataclasses
import math
import pickletools
import re
import reprlib
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import numpy as np

from functa_store.errors import MemberError
from functa_store.support.shortening import shown

MAX_OPCODES = 1 << 20
"""Instructions of a pickle; the largest of CIFAR's has about 300,000."""

MAX_DEPTH = 64
"""Containers within containers."""

MAX_ITEMS = 1 << 22
"""Values that a walk through all containers meets, a value that stands in several places counted for each."""

LARGE_BYTES, SPARE_BYTES = 1 << 10, 1 << 20
"""A value of so many bytes counts as large; large ones, counted for each place, may have twice the bytes of the pickle,
and so many more."""

ALLOWED = "expected arrays of NumPy, numbers, texts and plain containers"

_DTYPE = re.compile(r"b1|[iu][1248]|f[248]|c8|c16")
_TYPES = {
    *("bool", "int", "float", "complex", "str", "bytes", "bytearray", "list", "tuple", "dict", "set", "frozenset"),
    *("NoneType", "object", "type"),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Name:
    """Name of a class or function, which was not looked up."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclasses.dataclass(eq=False, slots=True)
class Inert:
    """What an object of a class was to be made from.

    Attributes:
        name: Of the class.
        args: What it was to be called with.
        state: What it was to be filled with; None if with nothing.
    """

    name: Name
    args: tuple[Any, ...]
    state: Any = None


@dataclasses.dataclass(eq=False, slots=True)
class _Blank:
    """An array (if without a data type) or a data type before its state, which replaces it where it is kept."""

    dtype: np.dtype[Any] | None = None
    places: list[int] = dataclasses.field(default_factory=list)


def _names(modules: str, names: str) -> set[Name]:
    return {Name(module, name) for module in modules.split() for name in names.split()}


_NUMPY = "numpy.core.multiarray numpy._core.multiarray"
_RECONSTRUCT, _SCALAR = _names(_NUMPY, "_reconstruct"), _names(_NUMPY, "scalar")
_FROM_BUFFER = _names("numpy.core.numeric numpy._core.numeric", "_frombuffer")
_NDARRAY, _DTYPE_CLASS = Name("numpy", "ndarray"), Name("numpy", "dtype")
_ENCODE = Name("_codecs", "encode")
_ORDERED = Name("collections", "OrderedDict")
_SET, _FROZENSET = (_names("builtins __builtin__", name) for name in ("set", "frozenset"))
_BYTES_OF = _names("builtins __builtin__", "bytes bytearray")
_OF_DILL, _TYPE_OF_DILL = (_names("dill._dill dill.dill", name) for name in ("_create_array", "_load_type"))
_OF_JAX = {
    Name("jax._src.array", "_reconstruct_array"),
    Name("jax._src.device_array", "reconstruct_device_array"),
    Name("jax._src.device_array", "_reconstruct_device_array"),
}
_TAGS = _names("haiku._src.data_structures haiku.data_structures", "FlatMapping FlatMap frozendict") | _names(
    "ml_collections.config_dict.config_dict ml_collections.config_dict", "ConfigDict FrozenConfigDict FieldReference"
)
_KNOWN = (
    {_NDARRAY, _DTYPE_CLASS, _ENCODE, _ORDERED}
    | _RECONSTRUCT
    | _SCALAR
    | _FROM_BUFFER
    | _OF_DILL
    | _TYPE_OF_DILL
    | _OF_JAX
    | _TAGS
    | _names("builtins __builtin__", " ".join(_TYPES))
)


def load_inert(data: bytes) -> Any:
    """The value that a pickle describes, of any protocol, Python 2's and dill's included.

    Strings of Python 2 (`BINSTRING` and its like) are given as bytes, arrays read-only and in the byte order that
    they are stored in.

    Args:
        data: The whole pickle.

    Returns:
        Numbers, texts, bytes, None, lists, tuples, dictionaries, sets, arrays and scalars of NumPy; `Inert` for
        objects of classes of Haiku and ml_collections, `Name` for the name of a type.

    Raises:
        MemberError: If it is damaged, holds or does anything else, or is larger, deeper or more tangled than any
            that was meant to be read; the message is the reason alone.
    """
    machine = _Machine()
    count, end, opcodes = 0, 0, pickletools.genops(data)
    while True:
        try:
            opcode, argument, place = next(opcodes)
        except StopIteration:
            break
        except Exception as error:  # whatever a library says of damage
            raise MemberError(f"is no whole pickle: {shown(str(error), 200)}") from error
        count += 1
        if count > MAX_OPCODES:
            raise MemberError(f"is a pickle of more than {MAX_OPCODES:,} instructions")
        machine.at, end = (opcode.name, place or 0), (place or 0) + 1
        if opcode.name == "STOP":
            break
        machine.do(opcode.name, argument)
    if end != len(data):
        raise MemberError(f"is a pickle that ends after {end:,} of {len(data):,} bytes; what follows is not read")
    result = machine.result()
    _check_extent(result, 2 * len(data) + SPARE_BYTES)
    return result


class _Machine:
    """Stack and memo of a pickle."""

    def __init__(self) -> None:
        self.at: tuple[str, int] = ("", 0)
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def do(self, opcode: str, argument: Any) -> None:
        """Carry out one instruction."""
        if opcode in _PUSHES:
            self._stack.append(argument)
        elif opcode in _BYTES:
            self._stack.append(self._latin1(argument))
        elif opcode in _CONSTANTS:
            self._stack.append(_CONSTANTS[opcode]())
        elif opcode in _ACTIONS:
            _ACTIONS[opcode](self, argument)
        else:
            self._refuse(f"has the instruction {opcode}")

    def result(self) -> Any:
        """What is left at the end."""
        if self._below or len(self._stack) != 1:
            self._refuse("does not end with one value")
        return self._stack[0]

    def _refuse(self, what: str) -> NoReturn:
        name, place = self.at
        raise MemberError(f"is a pickle that {what} ({name} at byte {place}); {ALLOWED}, and nothing was executed")

    def _pop(self) -> Any:
        if not self._stack:
            self._refuse("takes a value where there is none")
        return self._stack.pop()

    def _top(self, kind: type, what: str) -> Any:
        if not self._stack or type(self._stack[-1]) is not kind:
            self._refuse(f"adds {what}")
        return self._stack[-1]

    def _mark(self, _: object) -> None:
        if len(self._below) > 4 * MAX_DEPTH:
            self._refuse(f"nests deeper than {MAX_DEPTH}")
        self._below.append(self._stack)
        self._stack = []

    def _since_mark(self) -> list[Any]:
        if not self._below:
            self._refuse("goes back to a mark where there is none")
        values, self._stack = self._stack, self._below.pop()
        return values

    def _several(self, count: int) -> list[Any]:
        return [self._pop() for _ in range(count)][::-1]

    def _drop(self, _: object) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._since_mark()

    def _drop_since_mark(self, _: object) -> None:
        self._since_mark()

    def _duplicate(self, _: object) -> None:
        value = self._pop()
        self._stack += [value, value]

    def _protocol(self, version: int) -> None:
        if version > 5:
            self._refuse(f"is of protocol {version}")

    def _frame(self, _: object) -> None:
        """Nothing: a frame says how much to read ahead."""

    # Memo

    def _put(self, index: int) -> None:
        if not self._stack:
            self._refuse("keeps a value where there is none")
        value = self._stack[-1]
        if isinstance(value, _Blank):
            value.places.append(index)
        self._memo[index] = value

    def _memoize(self, _: object) -> None:
        self._put(len(self._memo))

    def _get(self, index: int) -> None:
        if index not in self._memo:
            self._refuse("takes a kept value that there is not")
        self._stack.append(self._memo[index])

    # Containers

    def _list(self, _: object) -> None:
        values = self._since_mark()
        self._stack.append(values)

    def _tuple(self, _: object) -> None:
        values = self._since_mark()
        self._stack.append(tuple(values))

    def _tuple_of(self, count: int) -> None:
        self._stack.append(tuple(self._several(count)))

    def _dict(self, _: object) -> None:
        values = self._since_mark()
        self._stack.append(self._dictionary(values))

    def _frozen_set(self, _: object) -> None:
        values = self._since_mark()
        self._stack.append(frozenset(self._key(value) for value in values))

    def _append(self, _: object) -> None:
        value = self._pop()
        self._top(list, "to a list where there is none").append(value)

    def _appends(self, _: object) -> None:
        values = self._since_mark()
        self._top(list, "to a list where there is none").extend(values)

    def _set_item(self, _: object) -> None:
        self._fill(self._several(2))

    def _set_items(self, _: object) -> None:
        self._fill(self._since_mark())

    def _fill(self, flat: list[Any]) -> None:
        self._top(dict, "to a dictionary where there is none").update(self._dictionary(flat))

    def _dictionary(self, flat: list[Any]) -> dict[Any, Any]:
        if len(flat) % 2:
            self._refuse("gives a key without a value")
        return {self._key(key): value for key, value in zip(flat[::2], flat[1::2], strict=True)}

    def _key(self, key: Any) -> Any:
        """A key that is hashed in no time: deep tuples overflow the stack, and huge integers may all collide."""
        small = type(key) is int and abs(key) < 1 << 64
        if not small and type(key) not in (str, bytes, bool, float, type(None)):
            self._refuse(f"has {_kind(key)} as a key")
        return key

    def _add_items(self, _: object) -> None:
        values = self._since_mark()
        self._top(set, "to a set where there is none").update(self._key(value) for value in values)

    # Names and objects

    def _global(self, text: str) -> None:
        module, _, name = text.partition(" ")
        self._name(Name(module, name))

    def _stack_global(self, _: object) -> None:
        module, name = self._several(2)
        if type(module) is not str or type(name) is not str:
            self._refuse("has a name that is no text")
        self._name(Name(module, name))

    def _name(self, name: Name) -> None:
        if name not in _KNOWN:
            self._refuse(f"names {reprlib.repr(name.module)} {reprlib.repr(name.name)}")
        self._stack.append(name)

    def _new_object(self, _: object) -> None:
        name, args = self._several(2)
        if type(name) is not Name or name not in _TAGS or type(args) is not tuple:
            self._refuse(f"makes an object of {_kind(name)}")
        self._stack.append(Inert(name, args))

    def _reduce(self, _: object) -> None:
        name, args = self._several(2)
        if type(name) is not Name or type(args) is not tuple:
            self._refuse(f"calls {_kind(name)}")
        self._stack.append(self._call(name, args))

    def _call(self, name: Name, args: tuple[Any, ...]) -> Any:
        """What a call would give, of the few functions of which that is known."""
        kinds = tuple(type(arg) for arg in args)
        if name in _TAGS:
            return Inert(name, args)
        if name in _RECONSTRUCT and kinds[:1] == (Name,) and args[0] == _NDARRAY:
            return _Blank()
        if name == _DTYPE_CLASS and kinds[:1] in ((str,), (bytes,)):
            return _Blank(self._dtype(args[0]))
        if name in _SCALAR and len(args) == 2:
            return self._array(args[1], args[0], (), fortran=False)[()]
        if name in _FROM_BUFFER and len(args) == 4 and kinds[3] is str:
            return self._array(args[0], args[1], args[2], fortran=args[3] == "F")
        if name in _OF_DILL and (len(args) == 3 or (len(args) == 4 and args[3] is None)):
            return self._made(*args[:3])
        if name in _OF_JAX and len(args) in (3, 4):
            return self._made(*args[:3])
        if name in _TYPE_OF_DILL and kinds == (str,) and args[0] in _TYPES:
            return Name("builtins", args[0])
        if name == _ENCODE or name in _BYTES_OF:
            if kinds == (str, str) and args[1] in ("latin1", "latin-1"):
                return self._latin1(args[0])
            if kinds in ((bytes,), (bytearray,), ()) and name in _BYTES_OF:
                return b"".join(args)
        if name == _ORDERED and kinds in ((), (list,)):
            pairs = args[0] if args else []
            if all(type(pair) in (list, tuple) and len(pair) == 2 for pair in pairs):
                return self._dictionary([value for pair in pairs for value in pair])
        if name in _SET | _FROZENSET and kinds in ((), (list,)):
            values = (self._key(value) for value in (args[0] if args else ()))
            return set(values) if name in _SET else frozenset(values)
        return self._refuse(f"calls {name} in a way that is not known")

    def _made(self, name: Any, args: Any, state: Any) -> Any:
        """An array that dill or JAX writes as NumPy's way to make one, with its state."""
        if type(name) is not Name or name not in _RECONSTRUCT or type(args) is not tuple:
            self._refuse(f"calls {_kind(name)}")
        return self._filled(self._call(name, args), state)

    def _latin1(self, text: str) -> bytes:
        try:
            return text.encode("latin-1")
        except UnicodeEncodeError:
            return self._refuse("has bytes above 255")

    def _build(self, _: object) -> None:
        target, state = self._several(2)
        if isinstance(target, Inert) and target.state is None:
            target.state = state
        elif isinstance(target, _Blank):
            value = self._filled(target, state)
            for index in target.places:
                if self._memo[index] is target:
                    self._memo[index] = value
            target = value
        else:
            self._refuse(f"fills {_kind(target)}")
        self._stack.append(target)

    # Arrays

    def _filled(self, blank: Any, state: Any) -> Any:
        """An array or a data type of its state, as NumPy writes them."""
        if not isinstance(blank, _Blank) or type(state) is not tuple or len(state) < 2:
            self._refuse("fills an array with what is no state of one")
        if blank.dtype is not None:
            order = state[1].decode("latin-1") if type(state[1]) is bytes else state[1]
            plain = all(part is None or (type(part) is int and part in (-1, 0)) for part in state[2:])
            if type(order) is not str or order not in ("<", ">", "|", "=") or not plain:
                self._refuse("has a data type that is none of plain numbers")
            return blank.dtype.newbyteorder("<" if order in "|=" else order)
        if len(state) not in (4, 5):
            self._refuse("fills an array with what is no state of one")
        shape, dtype, fortran, raw = state[-4:]
        return self._array(raw, dtype, shape, fortran=fortran is True or (type(fortran) is int and fortran == 1))

    def _dtype(self, text: str | bytes) -> np.dtype[Any]:
        if isinstance(text, bytes):
            text = text.decode("latin-1")
        if not _DTYPE.fullmatch(text):
            self._refuse(f"has the data type {reprlib.repr(text)}, which is none of plain numbers")
        return np.dtype(text)

    def _array(self, raw: Any, dtype: Any, shape: Any, *, fortran: bool) -> np.ndarray:
        """An array of bytes that are all there: nothing is allocated for what a shape only says."""
        if not isinstance(dtype, np.dtype) or type(shape) is not tuple or len(shape) > 32:
            self._refuse("has an array without a data type or a shape")
        if not all(type(n) is int and 0 <= n < 1 << 48 for n in shape):
            self._refuse("has an array whose shape is none")
        if type(raw) not in (bytes, bytearray):
            self._refuse(
                "has an array of Python objects" if type(raw) is list else "has an array that is none of bytes"
            )
        needed = math.prod(shape) * dtype.itemsize
        if len(raw) != needed:
            told = f"{needed:,}" if needed < 1 << 64 else "more than any machine has"
            self._refuse(f"has an array of {len(raw):,} bytes whose shape and data type need {told}")
        flat = np.frombuffer(bytes(raw), np.uint8 if dtype.kind == "b" else dtype)
        if dtype.kind == "b":
            flat = flat != 0  # other bytes would be neither true nor false
        try:
            array = flat.reshape(shape, order="F" if fortran else "C")
        except (ValueError, OverflowError):
            self._refuse("has an array whose shape is none")
        array.flags.writeable = False
        return array


def _kind(value: Any) -> str:
    return str(value) if type(value) is Name else type(value).__name__.lstrip("_").lower()


def _check_extent(value: Any, most_bytes: int) -> None:
    """Refuse what it would take long, or for ever, to walk through.

    Without recursion, and each container once: those that hold each other may be as deep as the pickle is long.

    Args:
        value: With all that it holds.
        most_bytes: Of large values, each counted for every place where it stands.

    Raises:
        MemberError: If it holds itself, nests too deep, or meets too many values.
    """
    extents: dict[int, tuple[int, int, int]] = {}  # of a container: depth, values and bytes of large ones
    begun: set[int] = set()
    todo = [(value,)]  # a tuple around it, so that it is a container
    while todo:
        node = todo[-1]
        if id(node) in extents:
            todo.pop()
            continue
        held = _held(node)
        inside = [child for child in held if _is_container(child)]
        if id(node) not in begun:
            begun.add(id(node))
            waiting = [child for child in inside if id(child) not in extents]
            if any(id(child) in begun for child in waiting):
                raise MemberError("is a pickle of a container that holds itself")
            if waiting:
                todo += waiting
                continue
        depth, items, size = 1, len(held), 0
        for child in held:
            of_child = extents[id(child)] if _is_container(child) else (0, 0, _large(child))
            depth, items, size = max(depth, of_child[0] + 1), items + of_child[1], size + of_child[2]
        if depth > MAX_DEPTH + 1 or items > MAX_ITEMS or size > most_bytes:
            raise MemberError(
                f"is a pickle whose containers nest deeper than {MAX_DEPTH}, or repeat what they hold beyond "
                f"{MAX_ITEMS:,} values or {most_bytes:,} bytes"
            )
        extents[id(node)] = depth, items, size
        todo.pop()


def _is_container(value: Any) -> bool:
    if isinstance(value, _Blank):
        raise MemberError("is a pickle of an array or data type that nothing was put into")
    return isinstance(value, (list, tuple, dict, Inert))


def _held(container: Any) -> list[Any]:
    if isinstance(container, Inert):
        return [container.args, container.state]
    return [*container, *container.values()] if isinstance(container, dict) else list(container)


def _large(value: Any) -> int:
    size = value.nbytes if isinstance(value, np.ndarray) else len(value) if isinstance(value, (str, bytes)) else 0
    return size if size > LARGE_BYTES else 0


_PUSHES = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
}
_BYTES = {"STRING", "BINSTRING", "SHORT_BINSTRING"}
"""Bytes of Python 2, of which `pickletools` makes text."""

_CONSTANTS: Mapping[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
    "EMPTY_SET": set,
}
_ACTIONS: Mapping[str, Callable[[_Machine, Any], None]] = {
    "PROTO": _Machine._protocol,
    "FRAME": _Machine._frame,
    "MARK": _Machine._mark,
    "POP": _Machine._drop,
    "POP_MARK": _Machine._drop_since_mark,
    "DUP": _Machine._duplicate,
    "PUT": _Machine._put,
    "BINPUT": _Machine._put,
    "LONG_BINPUT": _Machine._put,
    "MEMOIZE": _Machine._memoize,
    "GET": _Machine._get,
    "BINGET": _Machine._get,
    "LONG_BINGET": _Machine._get,
    "LIST": _Machine._list,
    "APPEND": _Machine._append,
    "APPENDS": _Machine._appends,
    "TUPLE": _Machine._tuple,
    "TUPLE1": lambda machine, _: machine._tuple_of(1),
    "TUPLE2": lambda machine, _: machine._tuple_of(2),
    "TUPLE3": lambda machine, _: machine._tuple_of(3),
    "DICT": _Machine._dict,
    "SETITEM": _Machine._set_item,
    "SETITEMS": _Machine._set_items,
    "ADDITEMS": _Machine._add_items,
    "FROZENSET": _Machine._frozen_set,
    "GLOBAL": _Machine._global,
    "STACK_GLOBAL": _Machine._stack_global,
    "REDUCE": _Machine._reduce,
    "NEWOBJ": _Machine._new_object,
    "BUILD": _Machine._build,
}
