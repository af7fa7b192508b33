"""Writes one file of every kind that is opened, and prints what is in it.

    python save_kinds.py FOLDER

Prints JSON: [{file, options, dtype, shape, values, list?}]. options are those
of open; shape has a last axis of 2 for complex numbers; values are all values
in C order, as text for Number() or BigInt(); list are the names in the file.
"""

import json
import sys
from pathlib import Path

import numpy as np

cases = []


def texts(array):
    flat = np.ascontiguousarray(array).reshape(-1)
    if flat.dtype.kind == "c":
        flat = flat.view(f"{flat.dtype.byteorder}f{flat.itemsize // 2}")
    if flat.dtype.kind == "f":
        return [repr(float(x)).replace("inf", "Infinity").replace("nan", "NaN") for x in flat]
    if flat.dtype.kind == "b":
        return ["true" if x else "false" for x in flat]
    return [str(int(x)) for x in flat]


def case(file, array, options=None, names=None):
    kind = array.dtype.kind
    name = np.dtype(f"f{array.itemsize // 2}").name if kind == "c" else array.dtype.newbyteorder("=").name
    entry = {"file": file, "options": options or {}, "dtype": name,
             "shape": list(array.shape) + ([2] if kind == "c" else []), "values": texts(array)}
    if names is not None:
        entry["list"] = names
    cases.append(entry)


def numbers(dtype, shape):
    count = int(np.prod(shape))
    values = (np.arange(count) * 37 % 101) - 50
    dtype = np.dtype(dtype)
    if dtype.kind == "u":
        values = values + 50
    if dtype.kind == "b":
        values = values % 2
    if dtype.kind == "c":
        values = values + 1j * values[::-1]
    if dtype.kind == "f":
        values = values / 4
    return values.astype(dtype).reshape(shape)


def main():
    if len(sys.argv) != 2:
        return __doc__
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)

    for order in "<>":
        for code in ("i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "c8", "c16"):
            for memory in "CF":
                array = np.asarray(numbers(order + code, (2, 3, 4)), order=memory)
                file = f"{'le' if order == '<' else 'be'}_{code}_{memory}.npy"
                np.save(folder / file, array)
                case(file, array)
    half = np.array([0, -0.0, np.inf, -np.inf, np.nan, 65504, 6e-8, 1 / 3], "<f2")
    np.save(folder / "half.npy", half)
    case("half.npy", half)

    inner = np.dtype([("u", ">i2"), ("v", "<f8")])
    packed = np.dtype([("x", "<f4"), ("flag", "?"), ("y", "<f8"), ("pair", "<i4", (2, 3)), ("z", "<c8"), ("in", inner)])
    for file, dtype in (("packed.npy", packed), ("aligned.npy", np.dtype(
            [("a", "u1"), ("b", "<f8"), ("c", "<i2")], align=True))):
        records = np.zeros((3, 2), dtype)
        names = []

        def fill(view, path):
            if view.dtype.names is None:
                view[...] = numbers(view.dtype, view.shape)
                names.append((path, view))
                return
            for field in view.dtype.names:
                fill(view[field], f"{path}.{field}" if path else field)

        fill(records, "")
        np.save(folder / file, records)
        for path, view in names:
            case(file, view, {"name": path}, [name for name, _ in names])

    members = {"one": numbers("<f4", (4, 5)), "two": numbers("<i8", (3,)), "empty": numbers("<f8", (0, 2))}
    np.savez(folder / "stored.npz", **members)
    for name, array in members.items():
        case("stored.npz", array, {"name": name}, list(members))
        case("stored.npz", array, {"name": f"{name}.npy"})
    np.savez(folder / "single.npz", only=members["one"])
    case("single.npz", members["one"])

    # 44 bytes of a WAV header, then two interleaved channels.
    sound = numbers("<i2", (10, 2))
    (folder / "sound.wav").write_bytes(bytes(44) + sound.tobytes())
    raw = {"format": "raw", "dtype": "<i2", "offset": 44}
    case("sound.wav", sound, {**raw, "shape": [10, 2]})
    case("sound.wav", sound.reshape(-1), raw)
    case("sound.wav", sound[:, 1], {**raw, "offset": 46, "shape": [10], "strides": [2]})
    case("sound.wav", sound[::-1, 0], {**raw, "offset": 44 + 36, "shape": [10], "strides": [-2]})
    case("sound.wav", np.broadcast_to(sound[0], (3, 2)), {**raw, "shape": [3, 2], "strides": [0, 1]})
    # An .fvecs file: each row is its length as int32 and then as many float32.
    vectors = numbers("<f4", (4, 3))
    rows = b"".join(np.int32(3).tobytes() + row.tobytes() for row in vectors)
    (folder / "rows.fvecs").write_bytes(rows)
    case("rows.fvecs", vectors, {"format": "raw", "dtype": "float32", "offset": 4, "shape": [4, 3], "strides": [4, 1]})
    for code in (">f8", "<u4", "|u1", "<c16", ">f2"):
        array = numbers(code, (3, 4))
        file = f"odd_{code[1:]}.dat"
        (folder / file).write_bytes(b"\x07" + array.tobytes())
        name = code if array.itemsize > 1 else "u1"
        parts = [3, 4, 2] if array.dtype.kind == "c" else [3, 4]
        case(file, array, {"format": "raw", "dtype": name, "offset": 1, "shape": parts})
        (folder / f"f{file}").write_bytes(array.tobytes(order="F"))
        case(f"f{file}", array, {"format": "raw", "dtype": name, "shape": parts, "order": "F"})
    print(json.dumps(cases))
    return None


if __name__ == "__main__":
    sys.exit(main())
