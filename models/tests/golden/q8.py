"""Writes tests/data/q8/: tensors in 32 bits, the same file with matrices in 8 bits, and what is to be read from it.

The format once more, from SPEC.md ("8-bit weights"), with Python's struct alone.

Run by hand: python models/tests/golden/q8.py
"""

import json
import math
import struct
from pathlib import Path

OUTPUT = Path(__file__).parents[1] / "data" / "q8"
BLOCK = 32
SIZES = {"F32": 4, "F16": 2, "I8": 1}
CODES = {"F32": "f", "F16": "e", "I8": "b"}


def rounded(value, code="f"):
    """To the nearest number of that type."""
    return struct.unpack(f"<{code}", struct.pack(f"<{code}", value))[0]


def half_above(value):
    near = rounded(value, "e")
    if near >= value:
        return near
    bits = struct.unpack("<H", struct.pack("<e", near))[0] + 1
    return struct.unpack("<e", struct.pack("<H", bits))[0]


def away_from_zero(value):
    return int(math.copysign(math.floor(abs(value) + 0.5), value))


def in_eight_bits(values):
    scales, steps = [], []
    for at in range(0, len(values), BLOCK):
        block = values[at : at + BLOCK]
        scale = half_above(rounded(max(map(abs, block)) / 127))
        inverse = rounded(1 / scale) if scale else 0
        scales.append(scale)
        steps += [away_from_zero(rounded(value * inverse)) for value in block]
    return scales, steps


def write(path, tensors):
    """safetensors: longer types first, then names in order."""
    order = sorted(tensors, key=lambda name: (-SIZES[tensors[name][0]], name))
    header, data = {}, b""
    for name in order:
        dtype, shape, values = tensors[name]
        part = struct.pack(f"<{len(values)}{CODES[dtype]}", *values)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(part)]}
        data += part
    text = json.dumps(header, separators=(",", ":"))
    text += " " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text.encode() + data)


def main():
    wave = [rounded(math.sin(1.7 * at) * 0.1) for at in range(1024)]
    matrix = wave[:64]
    matrix += [0.0] * 32 + [rounded(value * 1e-5) for value in wave[96:128]]  # no step, and one below 2⁻¹⁴
    matrix += [rounded(value * 1e5) for value in wave[128:160]]
    matrix += [(at - 15.5) * 127 / 16 for at in range(31)] + [-127.0]  # halves, in steps of 1
    tensors = {
        "matrix.weight": ([3, 64], matrix),
        "narrow.weight": ([4, 31], wave[200:324]),
        "vector.weight": ([64], wave[324:388]),
        "cube.weight": ([2, 2, 32], wave[388:516]),
    }
    stored, read = {}, {}
    for name, (shape, values) in tensors.items():
        if len(shape) == 2 and shape[1] % BLOCK == 0:
            scales, steps = in_eight_bits(values)
            stored[name] = ("I8", shape, steps)
            stored[f"{name}.scales"] = ("F16", [shape[0], shape[1] // BLOCK], scales)
            values = [rounded(step * scales[at // BLOCK]) for at, step in enumerate(steps)]
        else:
            values = [rounded(value, "e") for value in values]
            stored[name] = ("F16", shape, values)
        read[name] = ("F32", shape, values)
    OUTPUT.mkdir(exist_ok=True)
    write(OUTPUT / "given.safetensors", {name: ("F32", *tensor) for name, tensor in tensors.items()})
    write(OUTPUT / "model.safetensors", stored)
    write(OUTPUT / "read.safetensors", read)


main()
