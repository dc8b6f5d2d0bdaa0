"""Writes defenses/tests/data/cells-v1.txt: cells as bytes, and what a key makes of vectors in them, from the description
in SPEC.md. It shares its generator with keyed.py. From the repository root:

    python3 -m venv venv && venv/bin/pip install numpy==2.4.6 cryptography==50.0.2
    venv/bin/python defenses/tests/golden/cells.py > defenses/tests/data/cells-v1.txt
"""

import contextlib
import hashlib
import io
import math
import struct

import numpy as np

with contextlib.redirect_stdout(io.StringIO()):
    from keyed import Draws, walsh_hadamard

DIM, DIMS, CELLS, MAX = 11, 2, 3, 5
f32 = lambda x: float(np.float32(x))

components = [[0.0] * DIM for _ in range(DIMS)]
components[0][1], components[0][4] = f32(0.6), f32(-0.8)
components[1][0], components[1][7], components[1][9] = f32(2 / 3), f32(1 / 3), f32(-2 / 3)
centroids = [[-1.0, 0.25], [0.5, 0.5], [0.75, -1.0]]


def reflect(normal, vector, start):
    twice = 0.0
    for a, b in zip(normal, vector[start:]):
        twice += a * b
    twice *= 2.0
    vector[start:] = [x - twice * n for x, n in zip(vector[start:], normal)]


def normals():
    left, found = [row[:] for row in components], []
    for at in range(DIMS):
        vector = left[at][at:]
        norm = math.sqrt(sum_of_squares(vector))
        vector[0] += -norm if vector[0] < 0 else norm
        length = math.sqrt(sum_of_squares(vector))
        normal = [x / length for x in vector]
        for row in left[at + 1 :]:
            reflect(normal, row, at)
        found.append(normal)
    return found


def sum_of_squares(vector):
    total = 0.0
    for x in vector:
        total += x * x
    return total


def cell(vector):
    point = []
    for component in components:
        total = 0.0
        for x, c in zip(vector, component):
            total += x * c
        point.append(f32(total))
    distances = []
    for centroid in centroids:
        total = 0.0
        for a, b in zip(point, centroid):
            total += (a - b) ** 2
        distances.append(total)
    return distances.index(min(distances))


def hadamard(part, number):
    size = len(part)
    draws = Draws("embosk cells v1", number)
    block = 1 << (size.bit_length() - 1)
    scale = np.float32(1 / np.sqrt(np.float64(block)))
    values = np.array([part], np.float32)
    for _ in range(3):
        values = values[:, draws.order(size)] * (draws.signs(size) * scale)
        values[:, :block] = walsh_hadamard(values[:, :block])
        if size > block:
            values[:, size - block : block] *= draws.signs(2 * block - size) * scale
            values[:, size - block :] = walsh_hadamard(values[:, size - block :])
    return values[0]


def protect(vector):
    found, turned = normals(), list(vector)
    for at, normal in enumerate(found):
        reflect(normal, turned, at)
    before = [f32(x) for x in turned[DIMS:]]
    after = hadamard(before, cell(vector))
    difference = [0.0] * DIMS + [float(a) - b for a, b in zip(after, before)]
    for at, normal in reversed(list(enumerate(found))):
        reflect(normal, difference, at)
    return [f32(x + d) for x, d in zip(vector, difference)]


content = b"embosk cells v1\n" + struct.pack("<4I", CELLS, DIMS, DIM, MAX)
for row in components + centroids:
    content += struct.pack(f"<{len(row)}f", *row)
print("cells", (content + hashlib.sha256(content).digest()[:8]).hex())
for row in range(6):
    vector = [((7 * row + 5 * column) % 31 - 15) / 16 for column in range(DIM)]
    bits = struct.unpack(f"<{DIM}I", struct.pack(f"<{DIM}f", *protect(vector)))
    print("cell", cell(vector), " ".join(f"{x:08x}" for x in bits))
