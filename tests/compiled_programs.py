"""What a compiled program does on one of its devices, read from its text: matrix products, and what is exchanged.

`cost_analysis` counts the body of a loop once, and some products not at all.
"""

import dataclasses
import math
import re
from typing import Any

EXCHANGES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
_BYTES = {"pred": 1, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "f16": 2, "bf16": 2, "s64": 8, "u64": 8, "f64": 8}
_HEAD = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\) -> .* \{$")
_LINE = re.compile(r"^\s*(?:ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\((.*)$")
_SHAPE = re.compile(r"(\w+)\[([\d,]*)\]")
_CALLED = re.compile(r"(?:calls|to_apply|body|condition|true_computation|false_computation)=%?([\w.\-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')


@dataclasses.dataclass
class Work:
    """What one device does.

    Attributes:
        products: Floating-point operations of matrix products.
        count: How often something is exchanged, by kind.
        bytes: Bytes of a device's results of these exchanges, by kind.
    """

    products: float = 0.0
    count: dict[str, float] = dataclasses.field(default_factory=dict)
    bytes: dict[str, float] = dataclasses.field(default_factory=dict)

    def add(self, other: "Work", times: float) -> None:
        """Add what is done so many times."""
        self.products += times * other.products
        for mine, more in ((self.count, other.count), (self.bytes, other.bytes)):
            for kind, value in more.items():
                mine[kind] = mine.get(kind, 0.0) + times * value


def work(compiled: Any) -> Work:
    """Read the work of one device from a compiled program; of a condition's branches, the one with more products."""
    bodies: dict[str, list[re.Match[str]]] = {}
    entry, current = "", []
    for line in compiled.as_text().splitlines():
        head = _HEAD.match(line)
        if head is not None:
            current = bodies.setdefault(head[2], [])
            entry = head[2] if head[1] else entry
        elif (found := _LINE.match(line)) is not None:
            current.append(found)
    known: dict[str, Work] = {}

    def of(name: str) -> Work:
        if name not in known:
            known[name] = _of(bodies.get(name, []), of)
        return known[name]

    return of(entry)


def _of(lines: list[re.Match[str]], of: Any) -> Work:
    total, shapes = Work(), {line[1]: line[2] for line in lines}
    for line in lines:
        _, result, operation, rest = line.groups()
        kind = operation.removesuffix("-start")
        if operation == "dot":
            total.products += _product(result, rest, shapes)
        elif kind in EXCHANGES:
            # What begins an exchange in the background has its operands beside its results.
            size = _size(result) / (2 if operation != kind and kind == "all-gather" else 1)
            total.add(Work(0.0, {kind: 1}, {kind: size}), 1)
        if kind in EXCHANGES or operation in {"reduce", "sort", "scatter", "map"}:
            continue
        trips = int(found[1]) if (found := _TRIPS.search(rest)) and operation == "while" else 1
        branches = _BRANCHES.search(rest)
        if branches is not None:
            each = [of(name.strip().lstrip("%")) for name in branches[1].split(",")]
            total.add(max(each, key=lambda branch: branch.products), 1)
        else:
            for name in _CALLED.findall(rest):
                total.add(of(name), trips)
    return total


def _product(result: str, rest: str, shapes: dict[str, str]) -> float:
    first = rest.split(",", maxsplit=1)[0].strip().lstrip("%")
    given = _SHAPE.search(first) or _SHAPE.search(shapes[first])
    assert given is not None
    dimensions = [int(n) for n in given[2].split(",") if n]
    summed = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", rest)
    over = [dimensions[int(n)] for n in summed[1].split(",") if n] if summed else []
    return 2.0 * _elements(result) * math.prod(over)


def _elements(shape: str) -> int:
    found = _SHAPE.search(shape)
    assert found is not None
    return math.prod(int(n) for n in found[2].split(",") if n)


def _size(shape: str) -> float:
    parts = _SHAPE.findall(shape)
    return float(sum(_BYTES.get(kind, 4) * math.prod(int(n) for n in sizes.split(",") if n) for kind, sizes in parts))
