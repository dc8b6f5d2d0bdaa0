"""Writes tests/data/fits-v1.txt: what was fitted on a sample, as bytes. Python 3.12, nothing else.

    python3 defenses/tests/golden/fits.py > defenses/tests/data/fits-v1.txt
"""

import hashlib
import struct

FITS = [
    ("embosk scales v1", (8, 4), (0.25, 1.0, 0.0, 3.0e-8)),
    ("embosk scales v1", (1, 2), (0.03125, 0.1)),
    ("embosk codebook v1", (2, 3, 1), (0.5, -0.5, 0.1, 1.0, -0.0, 1.0e30)),
    ("embosk groups v1", (3, 2, 2), (0.5, -0.0, 0.1, 1.0, -1.0, 3.0e-8)),
]


def stored(line: str, shape: tuple, numbers: tuple) -> bytes:
    content = line.encode() + b"\n" + struct.pack(f"<{len(shape)}I", *shape)
    content += struct.pack(f"<{len(numbers)}f", *numbers)
    return content + hashlib.sha256(content).digest()[:8]


for fit in FITS:
    print(stored(*fit).hex())
