"""Draws operations on arrays and does them with numpy, so that a test can compare.

    python search.py FOLDER SEED CASES

Writes the arrays to FOLDER and prints one line of JSON a case: {view, op, ...,
found}. A view is {file, dtype, raw, perm, slices}: a file opened (as raw where
it says so), transposed, and sliced. Elements are written as hexadecimal bytes,
lowest first, in C order. Floats are small integers where results are to be
exact, so that no order of addition matters.
"""

import json
import sys
from pathlib import Path

import numpy as np

INTEGERS = ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"]
FLOATS = ["f2", "f4", "f8", "bf16"]
NAMES = {
    "?": "bool", "i1": "int8", "u1": "uint8", "i2": "int16", "u2": "uint16", "i4": "int32", "u4": "uint32",
    "i8": "int64", "u8": "uint64", "f2": "float16", "f4": "float32", "f8": "float64", "bf16": "bfloat16",
}


def kind_of(kind):
    return "f4" if kind == "bf16" else kind


def packed(found, kind):
    """The bytes of elements, lowest first."""
    if kind == "bf16":
        found = (np.ascontiguousarray(found, dtype="f4").view("u4") >> 16).astype("u2")
    return np.ascontiguousarray(found).astype(found.dtype.newbyteorder("<")).tobytes().hex()


class Drawer:
    def __init__(self, folder, seed):
        self.folder, self.random, self.files = folder, np.random.default_rng(seed), 0

    def some(self, *choices):
        return choices[self.random.integers(len(choices))]

    def shape(self, ndim):
        if ndim > 0 and self.random.random() < 0.25:
            # Long in one direction, so that there are chunks, blocks, lanes and what is left of them.
            shape = [int(self.random.integers(1, 5)) for _ in range(ndim)]
            shape[self.random.integers(ndim)] = int(self.random.integers(100, 3000))
            return shape
        return [int(n) for n in self.random.integers(0 if self.random.random() < 0.1 else 1, 8, ndim)]

    def elements(self, kind, shape, wild):
        dtype = np.dtype(kind_of(kind))
        if dtype.kind == "b":
            return self.random.random(shape) < 0.5
        if dtype.kind in "iu":
            info = np.iinfo(dtype)
            low, high = (info.min, info.max) if wild else (max(info.min, -9), 9)
            return self.random.integers(low, high, shape, dtype=dtype, endpoint=True)
        found = self.random.integers(-9, 9, shape).astype(dtype)
        if wild:
            found = (self.random.standard_normal(shape) * self.some(1, 1000)).astype(dtype)
            if self.random.random() < 0.3 and found.size:
                found.flat[self.random.integers(found.size)] = self.some(np.nan, np.inf, -np.inf)
        if kind == "bf16":
            found = (found.view("u4") & 0xFFFF0000).view("f4") if found.ndim else np.float32(found)
        return found

    def write(self, base, kind):
        """Where the elements of an array are stored, in some order and byte order."""
        self.files += 1
        file = f"{self.files}.npy" if kind != "bf16" else f"{self.files}.bin"
        raw = None
        if kind == "bf16":
            (self.folder / file).write_bytes(bytes.fromhex(packed(base, kind)))
            raw = list(base.shape)
        else:
            stored = base.astype(base.dtype.newbyteorder(self.some("<", ">")))
            np.save(self.folder / file, np.asarray(stored, order=self.some("C", "F")))
        return {"file": file, "dtype": NAMES[kind], "raw": raw}

    def view(self, kind, ndim, wild, shape=None):
        """A view of a new file, and its elements."""
        base = np.asarray(self.elements(kind, self.shape(ndim) if shape is None else shape, wild))
        if kind == "bf16":
            base = (np.ascontiguousarray(base, dtype="f4").view("u4") & 0xFFFF0000).view("f4").reshape(base.shape)
        stored = self.write(base, kind)
        perm = [int(axis) for axis in self.random.permutation(base.ndim)]
        view = base.transpose(perm)
        slices = []
        for n in view.shape:
            step = int(self.some(1, 1, 1, 1, -1, 2, -2)) if shape is None else 1
            slices.append([None, None, step])
        view = view[tuple(slice(*one) for one in slices)] if slices else view
        return view, stored | {"perm": perm, "slices": slices}

    def like(self, found, kind):
        """A view of a new file with these elements."""
        perm = [int(axis) for axis in self.random.permutation(found.ndim)]
        stored = self.write(np.transpose(found, np.argsort(perm)) if perm else found, kind)
        return stored | {"perm": perm, "slices": [[None, None, 1]] * found.ndim}

    def take(self):
        kind = self.some("?", *INTEGERS, *FLOATS)
        view, described = self.view(kind, self.some(1, 2, 2, 3, 4), True)
        axis = int(self.random.integers(-view.ndim, view.ndim))
        n = view.shape[axis]
        shape = [int(n) for n in self.random.integers(0, 9, self.some(0, 1, 1, 2))]
        indices = self.random.integers(-n, n, shape) if n else np.zeros([0], "i8")
        found = np.take(view, indices, axis)
        return {"view": described, "axis": axis, "shape": list(np.shape(indices)),
                "indices": np.ravel(indices).tolist(), "kind": self.some("plain", "int16", "int64", "uint64"),
                "found": {"shape": found.shape, "bytes": packed(found, kind)}}

    def topk(self):
        kind = self.some(*FLOATS)
        wild = self.random.random() < 0.3
        view, described = self.view(kind, 2, wild)
        if view.shape[0] == 0:
            return None
        query = self.elements(kind, [view.shape[1]], False)
        if kind == "bf16":
            query = query.astype("f4")
        k = int(self.random.integers(1, min(view.shape[0], 20) + 1))
        metric = self.some("dot", "cosine", "l2")
        a, q = view.astype("f8"), query.astype("f8")
        if metric == "dot":
            scores = (a * q).sum(1)
        elif metric == "l2":
            scores = np.sqrt(((a - q) ** 2).sum(1))
        else:
            scores = (a * q).sum(1) / (np.sqrt((q * q).sum()) * np.sqrt((a * a).sum(1)))
        order = np.argsort(scores if metric == "l2" else -scores, kind="stable")[:k]
        return {"view": described, "query": packed(query, kind), "k": k, "metric": metric, "wild": wild,
                "found": {"indices": order.tolist(), "scores": packed(scores[order], "f8"),
                          "all": packed(scores, "f8")}}

    def dot(self):
        kind = self.some("?", *INTEGERS, *FLOATS)
        view, described = self.view(kind, self.some(1, 1, 2, 2, 3), self.random.random() < 0.5 and kind[0] in "iu")
        other = self.elements(kind, [view.shape[-1]], self.random.random() < 0.5 and kind[0] in "iu")
        exact = "f8" if kind in FLOATS else "O"
        if exact == "O":
            a, b = view.astype("O"), other.astype("O")
            if kind == "?":
                a, b = view.astype("i8").astype("O"), other.astype("i8").astype("O")
            found = np.asarray((a * b).sum(-1)) if view.shape[-1] else np.zeros(view.shape[:-1], "O")
        else:
            found = np.asarray((view.astype("f8") * other.astype("f8")).sum(-1))
        mapped = self.like(other, kind) if self.random.random() < 0.5 else None
        texts = [str(int(x)) if exact == "O" else repr(float(x)) for x in found.ravel()]
        return {"view": described, "mapped": mapped, "other": packed(other, kind),
                "found": {"shape": found.shape, "values": texts}}

    def histogram(self):
        kind = self.some("?", *INTEGERS, *FLOATS)
        view, described = self.view(kind, self.some(1, 2, 3), True)
        bins = int(self.some(1, 2, 3, 10, 17, 100))
        bounds = self.some(None, None, [-3.5, 4.25], [0, 1], [2, 2], [-1000.1, 1e6])
        data = view.astype("u1") if kind == "?" else view.astype("f4") if kind in ("f2", "bf16") else view
        try:
            counts, edges = np.histogram(data, bins, bounds)
            found = {"counts": counts.tolist(), "edges": packed(edges.astype("f8"), "f8")}
        except ValueError as error:
            found = {"error": str(error)}
        return {"view": described, "bins": bins, "range": bounds, "found": found}

    def pair(self):
        """Two arrays of one shape that differ in one place, or nearly, or not at all; the second maybe of another dtype."""
        kind = self.some("?", *INTEGERS, *FLOATS)
        view, described = self.view(kind, self.some(0, 1, 2, 3), self.random.random() < 0.5)
        other, other_kind = np.array(view), kind
        if kind != "?" and self.random.random() < 0.4:
            other_kind = self.some(*INTEGERS, *FLOATS)
            with np.errstate(all="ignore"):
                other = np.asarray(other.astype("f8")).astype(kind_of(other_kind)) if kind in FLOATS else other.astype(kind_of(other_kind))
        change = self.some("none", "none", "much", "little")
        if change != "none" and other.size:
            at = int(self.random.integers(other.size))
            with np.errstate(all="ignore"):
                if other.dtype.kind == "b":
                    other.flat[at] = not other.flat[at]
                else:
                    other.flat[at] = other.flat[at] * (1 + 1e-6) if change == "little" else other.dtype.type(3)
        if other_kind == "bf16":
            other = (np.ascontiguousarray(other).view("u4") & 0xFFFF0000).view("f4").reshape(other.shape)
        mapped = self.like(other, other_kind) if self.random.random() < 0.5 else None
        return view, other, {"view": described, "mapped": mapped, "other": packed(other, other_kind),
                             "dtype": NAMES[other_kind], "shape": list(other.shape)}

    def equals(self):
        view, other, case = self.pair()
        nan = bool(self.random.random() < 0.5)
        with np.errstate(all="ignore"):
            # As Python's numbers, which compare exactly.
            same = [a == b or (nan and a != a and b != b) for a, b in zip(view.ravel().tolist(), other.ravel().tolist())]
        return case | {"equalNaN": nan, "found": all(same)}

    def allClose(self):
        view, other, case = self.pair()
        nan = bool(self.random.random() < 0.5)
        rtol, atol = self.some((1e-5, 1e-8), (0.0, 0.0), (0.0, 1.5), (0.5, 0.0))
        with np.errstate(all="ignore"):
            found = bool(np.allclose(view.astype("f8"), other.astype("f8"), rtol, atol, nan))
        return case | {"equalNaN": nan, "rtol": rtol, "atol": atol, "found": found}


def main():
    folder, seed, cases = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    drawer = Drawer(folder, seed)
    np.seterr(all="ignore")
    for op in ["take", "topk", "dot", "histogram", "equals", "allClose"]:
        for _ in range(cases):
            case = getattr(drawer, op)()
            if case is not None:
                print(json.dumps({"op": op} | case))


main()
