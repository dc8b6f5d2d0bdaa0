"""Writes tests/data/sealed-v1.txt: sealed rows, by an independent reading of SPEC.md. Python 3.11, PyNaCl 1.6
(libsodium's XChaCha20-Poly1305), numpy 2.

    python3 defenses/tests/golden/sealed.py > defenses/tests/data/sealed-v1.txt
"""

import hashlib
import hmac
import struct

import numpy as np
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_encrypt as encrypt

KEY = bytes([7]) * 32
VECTOR = np.array([0.5, -0.25, 0.1, 0.0], np.float32)
KINDS = {"int8": 1, "f16": 2, "f32": 3, "text": 16}


def derive(label: str, dim: int = 0) -> bytes:
    pseudorandom = hmac.digest(bytes(32), KEY, "sha256")
    return hmac.digest(pseudorandom, label.encode() + struct.pack(">Q", dim) + b"\x01", "sha256")


def content(kind: str, text: str) -> bytes:
    if kind == "text":
        return text.encode()
    if kind == "int8":
        scale = np.abs(VECTOR).max()
        position = VECTOR.astype(np.float64) * 127 / np.float64(scale)
        levels = np.trunc(position + np.copysign(0.5, position)).astype(np.int8)
        return struct.pack("<f", scale) + levels.tobytes()
    return VECTOR.astype({"f16": "<f2", "f32": "<f4"}[kind]).tobytes()


def sealed(space: str, kind: str, row: str, first: int, field: str = "", text: str = "") -> bytes:
    plain, nonce = content(kind, text), bytes(range(first, first + 24))
    header = b"esr" + bytes([1, KINDS[kind]]) + derive("embosk fingerprint v1")[:4]
    header += hashlib.sha256(space.encode()).digest()[:8] + struct.pack("<I", len(plain))
    data = b"embosk sealed v1" + header
    for part in (space.encode(), field.encode()):
        data += struct.pack("<Q", len(part)) + part
    return header + nonce + encrypt(plain, data + row.encode(), nonce, derive("embosk sealed v1"))


digits = derive("embosk fingerprint v1")[:4].hex()
ROTATED = f"embosk2 rotation(key={digits}, kind=haar)"
for row in (
    sealed("embosk2 none", "int8", "row 1", 0),
    sealed(ROTATED, "int8", "row 1", 1),
    sealed(ROTATED, "f16", "row 2", 2),
    sealed(ROTATED, "f32", "row 3", 3),
    sealed(ROTATED, "text", "row 1", 4, "chunk", "Ann Lee owes 420 €."),
    sealed(ROTATED, "text", "row 1", 5),
):
    print(row.hex())
