"""Sealed rows by SPEC.md, opened with libsodium, for rerank.py."""

import hashlib
import hmac
import re
import struct

import numpy
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_decrypt as decrypt


def derive(key: bytes, label: str) -> bytes:
    pseudorandom = hmac.digest(bytes(32), key, "sha256")
    return hmac.digest(pseudorandom, label.encode() + struct.pack(">Q", 0) + b"\x01", "sha256")


def space(said: str) -> str:
    """The space that rows are bound to: the fingerprint that `embosk protect` prints, by SPEC.md."""
    whole = said.split("fingerprint: ")[1].splitlines()[0]
    return re.sub(r"^(embosk2) $", r"\1 none", re.sub(r", dim=\d+|( \| )?rerank\(.*\)$", "", whole))


def opened(row: bytes, space: str, name: str, secret: bytes) -> numpy.ndarray:
    """A sealed row by SPEC.md: its header is 21 bytes, its nonce 24."""
    head, nonce = row[:21], row[21:45]
    if hashlib.sha256(space.encode()).digest()[:8] != head[9:17]:
        raise SystemExit(f"the rows are bound to another space than {space}")
    data = b"embosk sealed v1" + head + struct.pack("<Q", len(space)) + space.encode() + struct.pack("<Q", 0)
    plain = decrypt(row[45:], data + name.encode(), nonce, secret)
    if head[4] == 1:
        return numpy.frombuffer(plain, numpy.int8, offset=4) * (struct.unpack_from("<f", plain)[0] / 127)
    return numpy.frombuffer(plain, {2: "<f2", 3: "<f4"}[head[4]]).astype(float)
