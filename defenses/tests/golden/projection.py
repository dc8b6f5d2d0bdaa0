"""Writes defenses/tests/data/projection-v1.txt: what a key makes a projection of, from the description in SPEC.md, and
a fit as bytes. Python 3.11 or later alone; it shares its generator with rotation.py. From the repository root:

    python3 defenses/tests/golden/projection.py > defenses/tests/data/projection-v1.txt
"""

import contextlib
import hashlib
import io
import math
import struct

with contextlib.redirect_stdout(io.StringIO()):
    from rotation import derive, in_order, normals, reflection


def column(number, dim, reflections):
    x = [0.0] * dim
    x[number] = reflections[number][1]
    for k in range(number, -1, -1):
        v = reflections[k][0]
        s = in_order(a * b for a, b in zip(v, x[k:]))
        x[k:] = [b - a * s for a, b in zip(v, x[k:])]
    return x


for dim, dims in [(1, 1), (8, 3), (384, 16)]:
    drawn = normals(derive(b"embosk projection v1", dim))
    reflections = [reflection(dim - k, drawn) for k in range(dims)]
    scale = math.sqrt(dim / dims)
    rows = [[x * scale for x in column(number, dim, reflections)] for number in range(dims)]
    rows = [struct.pack(f"<{dim}f", *row) for row in rows]
    print("dim", dim, "dims", dims)
    for row in rows[:2]:
        print(" ".join(f"{bits:08x}" for bits in struct.unpack(f"<{dim}I", row)[:8]))
    print("sha256", hashlib.sha256(b"".join(rows)).hexdigest())

content = b"embosk projection v1\n" + struct.pack("<3I", 3, 2, 1)
content += struct.pack("<3f", 0.5, -0.25, 1.0)
content += struct.pack("<2f", 2.0, 0.5)
content += struct.pack("<6f", 0.6, 0.8, 0.0, 0.0, 0.0, 1.0)
print("fit", (content + hashlib.sha256(content).digest()[:8]).hex())
