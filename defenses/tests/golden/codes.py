"""Writes defenses/tests/data/codes-v1.txt: packed codes, by numpy and cryptography.

Run by hand, once: stored codes depend on what it wrote.

    python3 -m venv venv && venv/bin/pip install numpy==2.4.6 cryptography==50.0.2
    venv/bin/python defenses/tests/golden/codes.py > defenses/tests/data/codes-v1.txt
"""

import struct

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

DIM = 13
TOP = {8: 127.0, 4: 7.0, 1: 1.0}


def vectors():
    numbers = np.arange(4 * DIM).reshape(4, DIM) * 7919 % 2001 - 1000
    rows = numbers.astype(np.float32) / np.float32(1000)
    rows[3] = np.arange(DIM) - np.float32(6.5)  # halves between levels
    rows[3, 0] = 127
    return rows


def offsets():
    """Dither under the key of bytes 0, 1, … 31."""
    info = b"embosk dither v1" + struct.pack(">Q", DIM)
    seed = HKDF(SHA256(), 32, salt=None, info=info).derive(bytes(range(32)))
    stream = Cipher(algorithms.ChaCha20(seed, bytes(16)), None).encryptor().update(bytes(4 * DIM))
    return (np.frombuffer(stream, "<u4") + 0.5) / 2**32 - 0.5


def levels(bits, rows, scales, dither):
    step = 2.0 if bits == 1 else 1.0
    places = rows.astype(np.float64) * TOP[bits] / scales.astype(np.float64) + dither * step
    if bits == 1:
        return np.where(places < 0, -1, 1)
    away = np.sign(places) * np.floor(np.abs(places) + 0.5)
    return np.clip(away, -TOP[bits], TOP[bits]).astype(int)


def pack(bits, levels):
    if bits == 8:
        return levels.astype(np.int8).view(np.uint8)
    if bits == 1:
        return np.packbits(levels > 0, axis=1)
    even = np.pad(levels & 15, ((0, 0), (0, 1)))
    return (even[:, ::2] | even[:, 1::2] << 4).astype(np.uint8)


def restored(bits, levels, scales, dither):
    step = 2.0 if bits == 1 else 1.0
    return ((levels - dither * step) * scales.astype(np.float64) / TOP[bits]).astype(np.float32)


def show(name, codes, values):
    print(name)
    for code, value in zip(codes, values):
        print(bytes(code).hex(), (value + np.float32(0)).astype("<f4").tobytes().hex())


def case(name, bits, scales, dither=np.zeros(DIM)):
    rows = vectors()
    found = levels(bits, rows, scales, dither)
    show(f"{name} {bits}", pack(bits, found), restored(bits, found, scales, dither))


def product():
    rows = vectors()[:, :12]
    book = (np.arange(48) * 104729 % 2001 - 1000).astype(np.float32) / np.float32(1000)
    book = book.reshape(3, 4, 4)
    pieces = rows.reshape(-1, 3, 1, 4).astype(np.float64)
    codes = ((pieces - book) ** 2).sum(axis=3).argmin(axis=2)
    show("product", codes.astype(np.uint8), book[np.arange(3), codes].reshape(-1, 12))


for bits in (8, 4, 1):
    rows = vectors().astype(np.float64)
    largest = np.abs(rows).max(axis=1, keepdims=True).astype(np.float32)
    size = np.sqrt(np.cumsum(rows**2, axis=1)[:, -1:] / DIM).astype(np.float32)
    case("vector", bits, size if bits == 1 else largest)
    case("fixed", bits, np.full((1, 1), 0.5, np.float32))
    case("dither", bits, np.full((1, 1), 0.5, np.float32), offsets())
    quantile = np.quantile(np.abs(vectors()), 0.75, axis=0, method="inverted_cdf")
    fitted = np.sqrt((rows**2).cumsum(axis=0)[-1] / 4).astype(np.float32) if bits == 1 else quantile
    case("fitted", bits, fitted)
product()
