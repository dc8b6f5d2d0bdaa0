"""Prints defenses/tests/data/rotation-v1.txt from the description of the format in SPEC.md.

An independent reading, with Python alone. It checks the file, which is never written again. Run by hand
from the repository root, with Python 3.11 or later:

    python3 defenses/tests/golden/rotation.py | diff - defenses/tests/data/rotation-v1.txt
"""

import hashlib
import hmac
import math
import struct

KEY = bytes(range(32))
MASK = 0xFFFFFFFF


def derive(label, dim):
    extracted = hmac.digest(bytes(32), KEY, "sha256")
    return hmac.digest(extracted, label + struct.pack(">Q", dim) + b"\1", "sha256")


def quarter_round(s, a, b, c, d):
    for x, y, z, turn in [(a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)]:
        s[x] = (s[x] + s[y]) & MASK
        s[z] ^= s[x]
        s[z] = (s[z] << turn | s[z] >> 32 - turn) & MASK


def words(seed):
    """The ChaCha20 keystream, 64 bits at a time."""
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
        yield from struct.unpack("<8Q", struct.pack("<16I", *[(a + b) & MASK for a, b in zip(s, start)]))
        counter += 1


def normals(seed):
    uniform = ((word >> 11) * 2.0**-53 for word in words(seed))
    for first, second in zip(uniform, uniform):
        radius, angle = math.sqrt(-2 * math.log(1 - first)), math.tau * second
        yield radius * math.cos(angle)
        yield radius * math.sin(angle)


def in_order(products):
    total = 0.0
    for product in products:
        total += product
    return total


def reflection(length, drawn):
    v = [next(drawn) for _ in range(length)]
    norm = math.sqrt(in_order(x * x for x in v))
    sign = 1.0 if v[0] < 0 else -1.0
    v[0] -= sign * norm
    scale = math.sqrt(norm * abs(v[0]))
    return [x / scale for x in v] if scale > 0 else v, sign


def column(number, reflections):
    x = [0.0] * len(reflections)
    x[number] = reflections[number][1]
    for k in range(number, -1, -1):
        v = reflections[k][0]
        s = in_order(a * b for a, b in zip(v, x[k:]))
        x[k:] = [b - a * s for a, b in zip(v, x[k:])]
    return x


for dim in [1, 8, 384]:
    drawn = normals(derive(b"embosk rotation v1", dim))
    reflections = [reflection(dim - k, drawn) for k in range(dim)]
    columns = [column(number, reflections) for number in range(dim)]
    rows = [struct.pack(f"<{dim}f", *row) for row in zip(*columns)]
    print("dim", dim)
    for row in rows[:2]:
        print(" ".join(f"{bits:08x}" for bits in struct.unpack(f"<{dim}I", row)[:8]))
    print("sha256", hashlib.sha256(b"".join(rows)).hexdigest())
