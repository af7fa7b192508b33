"""Reduces arrays with numpy, so that a test can compare.

    python reduce.py FOLDER

FOLDER/cases.json is {seed, regions, length, cases}. First the files that the
cases name are written to FOLDER, from the seed: `regions` regions of `length`
elements each, of the kinds that `values` describes. Then each case takes a
part of its file, as a view: [start, start + size) reshaped to `shape`,
transposed to `perm`, sliced, and broadcast to `to`; and reduces it.

Prints one line of JSON a case: {shape, values, slack}, values as text in C
order, slack the error that each may have; two pairs of values and slack for
minmax; or {error}. Floats are reduced as longdouble, integers as Python's:
where the library promises more than numpy does, so does this.
"""

import json
import math
import sys
import warnings
from pathlib import Path

import numpy as np

EPS = 2.0 ** -53
KINDS = {
    "bool": "?", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4",
    "int64": "i8", "uint64": "u8", "float16": "f2", "bfloat16": "f4", "float32": "f4", "float64": "f8",
}


def masks(random, n, odds):
    """Trues in runs of random lengths, so that short parts are now and then all true or all false."""
    lengths = random.integers(1, 40, n)
    return np.repeat(random.random(n) < odds, lengths)[:n]


def values(random, kind, region, n):
    """Small values with runs of zeros; anything; NaN and infinities in runs; values far from zero beside each other."""
    if kind == "?":
        return masks(random, n, [0.5, 0.95, 0.05, 0.5][region])
    dtype = np.dtype(kind)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        if region == 0:
            return np.where(masks(random, n, 0.6), random.integers(max(info.min, -9), 9, n), 0).astype(dtype)
        if region == 2:
            return np.where(masks(random, n, 0.7), info.max, info.min).astype(dtype)
        if region == 3:
            return random.integers(info.max - 5, info.max, n, dtype=dtype, endpoint=True)
        return random.integers(info.min, info.max, n, dtype=dtype, endpoint=True)
    small = random.integers(-9, 9, n).astype("f8")
    if region == 0:
        return np.where(masks(random, n, 0.6), small, 0).astype(dtype)
    reach = {2: 4, 4: 30, 8: 100}[dtype.itemsize]
    if region == 1:
        return (random.standard_normal(n) * 10.0 ** random.uniform(-reach, reach, n)).astype(dtype)
    if region == 3:
        return (1000 + random.standard_normal(n)).astype(dtype)
    # The squares of the greatest are to fit into a float64 as well.
    greatest = min(float(np.finfo(dtype).max), 1e150)
    odd = random.choice([np.inf, -np.inf, 0.0, -0.0, greatest, np.finfo(dtype).smallest_subnormal], n)
    found = np.where(masks(random, n, 0.1), odd, small)
    return np.where(masks(random, n, 0.2), np.nan, found).astype(dtype)


def brain(floats):
    """The upper halves of float32, as float32; a NaN must not become an infinity."""
    return (floats.view("u4") & 0xFFFF0000).view("f4")


class Files:
    """The files of the cases, each written once; `elements` are what they hold."""

    def __init__(self, folder, seed, regions, length):
        self.folder, self.seed, self.regions, self.length = folder, seed, regions, length
        self.made = {}

    def elements(self, dtype, storage):
        kind = KINDS[dtype]
        if dtype not in self.made:
            random = np.random.default_rng([self.seed, sorted(KINDS).index(dtype)])
            with np.errstate(over="ignore", under="ignore"):
                parts = [values(random, kind, region, self.length) for region in range(self.regions)]
            found = np.concatenate(parts)
            self.made[dtype] = brain(found) if dtype == "bfloat16" else found
        path = self.folder / f"{dtype}-{storage}"
        if not path.exists():
            self.write(path, dtype, storage, self.made[dtype])
        return self.made[dtype]

    @staticmethod
    def write(path, dtype, storage, found):
        if dtype == "bfloat16":
            found = (found.view("u4") >> 16).astype("u2")
        order = ">" if storage.endswith("Big") else "<"
        stored = found.astype(found.dtype.newbyteorder(order))
        if storage.startswith("record"):
            records = np.zeros(len(stored), dtype=[("odd", "u1"), ("x", stored.dtype)])
            records["x"] = stored
            with open(path, "wb") as file:
                np.save(file, records)
        elif storage == "gap":
            path.write_bytes(np.repeat(stored, 2).tobytes())
        else:
            path.write_bytes((b"..." if storage.startswith("odd") else b"") + stored.tobytes())


def take(elements, case):
    size = math.prod(case["shape"])
    view = elements[case["start"]:case["start"] + size].reshape(case["shape"]).transpose(case["perm"])
    view = view[(*(slice(*one) for one in case["slices"]), ...)]
    return np.broadcast_to(view, case["to"])


def reduced_last(view, axes):
    """Kept axes, then all reduced ones as one, in C order."""
    kept = [n for axis, n in enumerate(view.shape) if axis not in axes]
    order = [axis for axis in range(view.ndim) if axis not in axes] + list(axes)
    return np.ascontiguousarray(view.transpose(order)).reshape(*kept, math.prod(view.shape[axis] for axis in axes))


def exact_sum(rows):
    """The sum of integers, whatever their size, as Python's."""
    if rows.dtype.itemsize < 8:
        return rows.sum(-1, dtype="i8").astype(object)
    low = (rows & rows.dtype.type(0xFFFFFFFF)).sum(-1, dtype="u8").astype(object)
    high = (rows >> rows.dtype.type(32)).sum(-1, dtype=rows.dtype).astype(object)
    return high * 2 ** 32 + low


def exact_prod(rows):
    """The product of integers; past all doubles only its sign is right."""
    found = np.empty(rows.shape[:-1], dtype=object)
    for at in np.ndindex(found.shape):
        row, product = rows[at].tolist(), 1
        for i, value in enumerate(row):
            product *= value
            if product == 0 or product.bit_length() > 1100:
                rest = row[i + 1:]
                product = 0 if 0 in rest else product * (-1) ** sum(one < 0 for one in rest)
                break
        found[at] = product
    return found


def product(rows):
    """The product of floats, with an exponent of its own, so that it neither overflows nor underflows on the way."""
    mantissas, exponents = np.frexp(rows.astype("g"))
    found, exponent = np.ones(rows.shape[:-1], dtype="g"), exponents.sum(-1, dtype="i8")
    for at in range(0, rows.shape[-1], 1000):
        part, more = np.frexp(mantissas[..., at:at + 1000].prod(-1))
        found, again = np.frexp(found * part)
        exponent += more + again
    return np.ldexp(found, np.clip(exponent, -9000, 9000)).astype("f8")


def moments(rows, good, less):
    """The variance of longdoubles, and the error that it may have."""
    n = good.sum(-1)
    mean = np.where(good, rows, 0).sum(-1) / n
    squares = np.where(good, (rows - mean[..., None]) ** 2, 0).sum(-1)
    found = squares.astype("f8") / np.maximum(n - less, 0)
    # Some hundred roundings; those of the mean count as far as its distances do.
    spread = np.sqrt(squares)
    slack = 200 * EPS * found + 16 * EPS * np.abs(mean) * np.sqrt(n) * (spread + 1) / np.maximum(n - less, 1)
    return found, slack


def reduce(view, case):
    """Pairs of results and of the errors that they may have."""
    op, skip = case["op"], case["skipNaN"]
    axes = range(view.ndim) if case["axis"] is None else sorted(axis % view.ndim for axis in case["axis"])
    rows = reduced_last(view, axes)
    floats = rows.dtype.kind == "f"
    nan = np.isnan(rows) if floats else np.zeros(rows.shape, dtype=bool)
    good = ~nan if skip else np.ones(rows.shape, dtype=bool)
    n = good.sum(-1)
    if op in ("sum", "prod", "mean") and not floats:
        if op == "prod":
            return [(exact_prod(rows), 0)]
        total = exact_sum(rows)
        if op == "sum":
            return [(total, 0)]
        return [((np.asarray(total).astype("g") / n).astype("f8"), 4 * EPS * np.abs(rows.astype("g")).mean(-1))]
    if op in ("sum", "mean"):
        wide = np.where(good, rows, 0).astype("g")
        total, size = wide.sum(-1), np.abs(wide).sum(-1)
        if op == "mean":
            total, size = total / n, size / n
        return [(total.astype("f8"), 12 * EPS * size + 5e-324)]
    if op == "prod":
        found = product(np.where(good, rows, 1))
        return [(found, (rows.shape[-1] + 8) * EPS * np.abs(found) + 5e-324)]
    if op in ("var", "std"):
        found, slack = moments(rows.astype("f8").astype("g"), good, case["ddof"])
        if skip and floats:
            found = np.where(n - case["ddof"] > 0, found, np.nan)
        if op == "std":
            root = np.sqrt(found)
            return [(root, np.minimum(slack / root, np.sqrt(slack)) + 2 * EPS * root)]
        return [(found, slack)]
    if op in ("min", "max", "minmax"):
        ops = {"min": [np.nanmin if skip else np.min], "max": [np.nanmax if skip else np.max]}
        ops["minmax"] = ops["min"] + ops["max"]
        if rows.dtype.kind == "b":
            rows = rows.view("u1")
        return [(one(rows, -1), 0) for one in ops[op]]
    if op in ("argmin", "argmax"):
        if not skip or not floats:
            return [(getattr(np, op)(rows, -1), 0)]
        # numpy's nanargmin may give the place of a NaN where all others are infinite.
        best = (np.nanmin if op == "argmin" else np.nanmax)(rows, -1)
        if np.isnan(best).any():
            raise ValueError("All-NaN slice")
        return [(np.argmax(rows == best[..., None], -1), 0)]
    hits = (rows != 0) & good
    if op == "any":
        return [(hits.any(-1), 0)]
    if op == "all":
        return [((hits | ~good).all(-1), 0)]
    return [(hits.sum(-1), 0)]


def text(value):
    """Integers past all doubles are infinite."""
    if isinstance(value, int) and value.bit_length() > 1024:
        return "inf" if value > 0 else "-inf"
    return str(value)


def answer(view, case):
    results = reduce(view, case)
    shape = np.shape(results[0][0])
    if case["keepdims"]:
        axes = range(view.ndim) if case["axis"] is None else [axis % view.ndim for axis in case["axis"]]
        shape = [1 if axis in axes else n for axis, n in enumerate(view.shape)]
    line = {"shape": list(shape), "values": [], "slack": []}
    for found, slack in results:
        line["values"].append([text(one) for one in np.asarray(found).ravel().tolist()])
        flat = np.broadcast_to(np.asarray(slack, dtype="f8"), np.shape(found)).ravel()
        line["slack"].append([float(one) if math.isfinite(one) else 0 for one in flat] if flat.any() else 0)
    return line


def main():
    folder = Path(sys.argv[1])
    given = json.loads((folder / "cases.json").read_text(encoding="utf-8"))
    files = Files(folder, given["seed"], given["regions"], given["length"])
    np.seterr(all="ignore")
    warnings.simplefilter("ignore")
    for case in given["cases"]:
        view = take(files.elements(case["dtype"], case["storage"]), case)
        try:
            line = answer(view, case)
        except ValueError as error:
            line = {"error": str(error)}
        print(json.dumps(line))


if __name__ == "__main__":
    main()
