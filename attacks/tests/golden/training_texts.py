"""Writes attacks/tests/data/training-texts-v1.bin: hashes of texts, as SPEC.md says. Python 3.12, nothing else.

    python3 attacks/tests/golden/training_texts.py > attacks/tests/data/training-texts-v1.bin
"""

import hashlib
import re
import struct
import sys


def fingerprint(text):
    words = re.sub("[\u0300-\u036f]", "", text.lower())
    words = " ".join("".join(c if c.isalnum() else " " for c in words).split())
    return int.from_bytes(hashlib.sha256(words.encode()).digest()[:8], "big")


def stored(kind, bits, texts):
    count = len(texts)
    values = sorted((fingerprint(text) * (count << bits)) >> 64 for text in texts)
    code = ""
    for before, value in zip([0, *values], values):
        quotient, remainder = divmod(value - before, 1 << bits)
        code += "1" * quotient + "0" + format(remainder, f"0{bits}b")
    code += "0" * (-len(code) % 8)
    packed = bytes(int(code[at : at + 8], 2) for at in range(0, len(code), 8))
    return struct.pack("<BBII", kind, bits, count, len(packed)) + packed


def file(is_complete, sets):
    content = b"embosk training texts v1\n" + struct.pack("<BI", is_complete, len(sets)) + b"".join(sets)
    return content + hashlib.sha256(content).digest()[:8]


def texts(word, count):
    return [f"{word} {n}" for n in range(count)]


sets = [
    stored(0, 10, texts("Base:", 40)),
    stored(0, 16, [*texts("trained", 100), "ÉTÉ — 東京\n"]),
    stored(1, 32, texts("held-out", 5)),
]
sys.stdout.buffer.write(file(False, sets))
