"""Takes selections of arrays with numpy, so that a test can compare.

    python select.py CASES

CASES is JSON: [{shape, turned, steps}]. The array is 0, 1, 2, ... in C order
in that shape, transposed where `turned`; each of `steps` is a list of
selections that is applied to what the one before gave: null for all of an
axis, a number for an index, [start, stop, step] for a range, null for an end
left open.

Prints one line of JSON a case: {shape, strides, values}, strides in elements,
values in C order; or {error}, the name of numpy's exception.
"""

import json
import math
import sys

import numpy as np


def selection(given):
    if given is None:
        return slice(None)
    return slice(*given) if isinstance(given, list) else given


def take(case):
    shape = case["shape"]
    array = np.arange(math.prod(shape)).reshape(shape)
    if case["turned"]:
        array = array.T
    for step in case["steps"]:
        # Indices for all axes would give a number; the ellipsis keeps it an array.
        array = array[(*map(selection, step), ...)]
    return {"shape": array.shape, "values": array.ravel().tolist(),
            "strides": [n // array.itemsize for n in array.strides]}


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        cases = json.load(file)
    for case in cases:
        try:
            line = take(case)
        except (IndexError, ValueError) as error:
            line = {"error": type(error).__name__}
        print(json.dumps(line))


if __name__ == "__main__":
    main()
