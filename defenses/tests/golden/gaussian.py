"""Prints defenses/tests/data/gaussian-v1.txt from the description of the format in SPEC.md.

An independent reading: ChaCha20, HKDF and all that follows are written out here. It checks the file,
which is never written again. Run by hand from the repository root:

    python3 -m venv venv
    venv/bin/pip install numpy==2.4.6
    venv/bin/python defenses/tests/golden/gaussian.py | diff - defenses/tests/data/gaussian-v1.txt
"""

import hashlib
import hmac
import math
import struct

import numpy as np

KEY = bytes(range(32))
SIGMA = 0.05
IDS = [b"", b"1", "ä".encode(), b"\0\xff"]
MASK = 0xFFFFFFFF


def quarter_round(s, a, b, c, d):
    for x, y, z, turn in [(a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)]:
        s[x] = (s[x] + s[y]) & MASK
        s[z] ^= s[x]
        s[z] = (s[z] << turn | s[z] >> 32 - turn) & MASK


def keystream(seed):
    counter = 0
    while True:
        start = [*struct.unpack("<4I", b"expand 32-byte k"), *struct.unpack("<8I", seed)]
        start += [counter & MASK, counter >> 32, 0, 0]
        s = list(start)
        for _ in range(10):
            for k in range(4):
                quarter_round(s, k, k + 4, k + 8, k + 12)
            for k in range(4):
                quarter_round(s, k, (k + 1) % 4 + 4, (k + 2) % 4 + 8, (k + 3) % 4 + 12)
        yield from struct.pack("<16I", *[(a + b) & MASK for a, b in zip(s, start)])
        counter += 1


def take(stream, count):
    return bytes(next(stream) for _ in range(count))


def uniform(stream):
    return (struct.unpack("<Q", take(stream, 8))[0] >> 11) * 2.0**-53


def normals(stream, count):
    out = []
    while len(out) < count:
        radius, angle = math.sqrt(-2 * math.log(1 - uniform(stream))), math.tau * uniform(stream)
        out += [radius * math.cos(angle), radius * math.sin(angle)]
    return np.array(out[:count])


def expand(secret, info):
    return hmac.new(secret, info + b"\1", hashlib.sha256).digest()


EXTRACTED = hmac.new(bytes(32), KEY, hashlib.sha256).digest()
SECRET = expand(EXTRACTED, b"embosk gaussian v1" + bytes(8))


def stream_for(purpose, dim, of=b""):
    return keystream(expand(SECRET, purpose + struct.pack(">dQ", SIGMA, dim) + of))


def features(vector, signs):
    squares, sums = 0.0, [0.0] * 16
    for value, bits in zip(vector, signs):
        squares += value * value
        sums = [s - value if bits >> k & 1 else s + value for k, s in enumerate(sums)]
    norm = math.sqrt(squares)
    return [s / norm for s in sums] + [math.log(norm)] if norm > 0 else [0.0] * 17


def cells_of(places):
    cells = [(1.0, [math.floor(place) for place in places])]
    for k, place in enumerate(places):
        part = (place - math.floor(place) - 15 / 16) * 16
        if part > 0:
            own, shared = math.cos(math.pi / 2 * part), math.sin(math.pi / 2 * part)
            following = [(w * shared, [n + (j == k) for j, n in enumerate(c)]) for w, c in cells]
            cells = [(w * own, c) for w, c in cells] + following
    return cells


def noise_by_vector(vectors):
    dim = vectors.shape[1]
    grid = stream_for(b"grid", dim)
    offsets = [uniform(grid) for _ in range(17)]
    signs = struct.unpack(f"<{dim}H", take(grid, 2 * dim))
    for vector in vectors:
        places = [f * 16 + offset for f, offset in zip(features(vector, signs), offsets)]
        noise = np.zeros(dim)
        for weight, cell in cells_of(places):
            noise += weight * normals(stream_for(b"cell", dim, struct.pack(">17q", *cell)), dim)
        yield noise


def show(vectors, noise):
    rows = [(vector + SIGMA * n).astype("<f4") for vector, n in zip(vectors, noise)]
    for row in rows[:2]:
        print(" ".join(f"{bits:08x}" for bits in row[:8].view("<u4")))
    print("sha256", hashlib.sha256(b"".join(row.tobytes() for row in rows)).hexdigest())


for dim in [1, 8, 384]:
    vectors = np.array(
        [[(r * 7919 + c * 104729) % 61 / 32 - 0.9375 for c in range(dim)] for r in range(4)])
    print(f"dim {dim}\nby id")
    show(vectors, [normals(stream_for(b"id", dim, row_id), dim) for row_id in IDS])
    print("by vector")
    show(vectors, noise_by_vector(vectors))
