"""Reads .npy files with numpy, so that a test can check what we wrote.

    python read_npy.py FILE...

Prints one line of JSON a file: {file, descr, shape, fortran_order, sha256,
values}. descr, shape and fortran_order are the header's own; sha256 covers
the data in C order, little-endian; values are the first 8 in C order, as
strings for JavaScript's Number() or BigInt() (complex: "re,im"). A file that
numpy refuses gives {file, error}, and exit 1 after the last file.
"""

import hashlib
import json
import sys

import numpy as np
from numpy.lib import format as npy


def header(path):
    with open(path, "rb") as file:
        # 3.0 is laid out like 2.0; they differ only for non-ASCII field names.
        if npy.read_magic(file) == (1, 0):
            shape, fortran, dtype = npy.read_array_header_1_0(file)
        else:
            shape, fortran, dtype = npy.read_array_header_2_0(file)
    return {"descr": npy.dtype_to_descr(dtype), "shape": shape,
            "fortran_order": fortran}


def number_text(value):
    if isinstance(value, complex):
        return f"{number_text(value.real)},{number_text(value.imag)}"
    names = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity",
             "True": "true", "False": "false"}
    return names.get(repr(value), repr(value))


def describe(path):
    loaded = np.load(path)
    mapped = np.load(path, mmap_mode="r")
    if (mapped.dtype, mapped.shape, mapped.tobytes()) != (
            loaded.dtype, loaded.shape, loaded.tobytes()):
        raise ValueError("np.load and np.load(mmap_mode='r') differ")
    data = loaded.astype(loaded.dtype.newbyteorder("<")).tobytes()
    return header(path) | {
        "sha256": hashlib.sha256(data).hexdigest(),
        "values": [number_text(x) for x in loaded.ravel()[:8].tolist()],
    }


def main():
    failed = False
    for path in sys.argv[1:]:
        try:
            line = describe(path)
        except Exception as error:  # numpy raises many kinds
            line = {"error": f"{type(error).__name__}: {error}"}
            failed = True
        print(json.dumps({"file": path} | line))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
