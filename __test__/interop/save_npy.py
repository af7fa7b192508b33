"""Writes arrays with np.save, so that a test can write the same with ours.

    python save_npy.py FOLDER

Writes every dtype x shape x order and index.json: [{file, dtype, shape,
order}]. order is the array's in memory; numpy writes one that is both C- and
Fortran-contiguous (one axis longer than 1, or no elements) as C.

Element k, in C order, comes from x = (k + 1) * 0x9E3779B97F4A7C15 mod 2^64:
integers are its low bits, two's complement; floats are its low 16 bits as an
int16, divided by 8; a complex number has that as both of its parts, the
second negated; bool is its lowest bit.
"""

import json
import math
import sys
from pathlib import Path

import numpy as np

DTYPES = ("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32",
          "int64", "uint64", "float16", "float32", "float64", "complex64",
          "complex128")
SHAPES = ((), (0,), (5,), (1, 5), (5, 1), (2, 3), (3, 0, 2), (2, 3, 4),
          (1,) * 32, (1,) * 64)


def make(dtype, shape, order):
    index = np.arange(1, math.prod(shape) + 1, dtype="<u8")
    mixed = index * np.uint64(0x9E3779B97F4A7C15)
    if dtype == "bool":
        values = mixed % 2 == 1
    elif dtype.startswith("float"):
        values = (mixed.astype("<i2") / 8).astype(dtype)
    elif dtype.startswith("complex"):
        part = mixed.astype("<i2") / 8
        values = (part - 1j * part).astype(dtype)
    else:
        values = mixed.astype(dtype)
    return np.asarray(values.reshape(shape), order=order)


def shape_name(shape):
    if len(shape) > 8:
        return f"{len(shape)}-ones"
    return "x".join(map(str, shape)) or "scalar"


def main():
    if len(sys.argv) != 2:
        return __doc__
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    index = []
    for dtype in DTYPES:
        for shape in SHAPES:
            for order in "CF":
                file = f"{dtype}_{shape_name(shape)}_{order}.npy"
                np.save(folder / file, make(dtype, shape, order))
                index.append({"file": file, "dtype": dtype, "shape": shape,
                              "order": order})
    (folder / "index.json").write_text(json.dumps(index))
    return None


if __name__ == "__main__":
    sys.exit(main())
