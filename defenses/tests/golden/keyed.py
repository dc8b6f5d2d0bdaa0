"""Computes what keyed defenses make of vectors a second time, apart from the crate, and compares.

    python3 -m venv venv && venv/bin/pip install numpy==2.4.6 cryptography==50.0.2
    venv/bin/python defenses/tests/golden/keyed.py

It reads defenses/tests/data/{hadamard,permutation,scaling,dcpe}-v1.txt, and never writes them: stored
vectors depend on them.
"""

import hashlib
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY = bytes(range(32))
DATA = Path(__file__).parent.parent / "data"


class Draws:
    def __init__(self, label, dim):
        info = label.encode() + dim.to_bytes(8, "big")
        seed = HKDF(SHA256(), 32, salt=None, info=info).derive(KEY)
        self.stream = Cipher(algorithms.ChaCha20(seed, bytes(16)), mode=None).encryptor()

    def word(self):
        return int.from_bytes(self.stream.update(bytes(8)), "little")

    def below(self, n):
        return self.word() * n >> 64

    def order(self, dim):
        order = list(range(dim))
        for last in range(dim - 1, 0, -1):
            other = self.below(last + 1)
            order[last], order[other] = order[other], order[last]
        return order

    def signs(self, count):
        return np.array([1 - 2 * self.below(2) for _ in range(count)], np.float32)


def walsh_hadamard(values):
    apart = 1
    while apart < values.shape[1]:
        pairs = values.reshape(len(values), -1, 2, apart)
        values = np.stack([pairs[:, :, 0] + pairs[:, :, 1], pairs[:, :, 0] - pairs[:, :, 1]], 2)
        values = values.reshape(len(values), -1)
        apart *= 2
    return values


def hadamard(dim):
    draws = Draws("embosk hadamard v1", dim)
    block = 1 << (dim.bit_length() - 1)
    scale = np.float32(1 / np.sqrt(np.float64(block)))
    row, column = np.indices((2, dim))
    values = (((7 * row + 5 * column) % 31 - 15) / 16).astype(np.float32)
    for _ in range(3):
        values = values[:, draws.order(dim)] * (draws.signs(dim) * scale)
        values[:, :block] = walsh_hadamard(values[:, :block])
        if dim > block:
            values[:, dim - block : block] *= draws.signs(2 * block - dim) * scale
            values[:, dim - block :] = walsh_hadamard(values[:, dim - block :])
    return values


def permutation(dim):
    return np.array([Draws("embosk permutation v1", dim).order(dim)], np.float32)


def factor(label):
    return np.array([[2.0 ** (-8 * ((Draws(label, 0).word() >> 11) / 2**53))]], np.float32)


def summary(values):
    assert values.dtype == np.float32
    lines = [f"dim {values.shape[1]}"]
    lines += [" ".join(f"{x:08x}" for x in row[:8].view(np.uint32)) for row in values]
    return "\n".join([*lines, f"sha256 {hashlib.sha256(values.tobytes()).hexdigest()}", ""])


computed = {
    "hadamard": [hadamard(dim) for dim in (1, 2, 3, 8, 48, 384, 768, 8191)],
    "permutation": [permutation(dim) for dim in (1, 8, 384, 8192)],
    "scaling": [factor("embosk scaling v1")],
    "dcpe": [factor("embosk dcpe v1")],
}
for name, outcomes in computed.items():
    same = "".join(map(summary, outcomes)) == (DATA / f"{name}-v1.txt").read_text()
    print(name, "is the same" if same else "DIFFERS")
