"""What a key's text, fingerprint and derived secrets should be, by Python's own hashes.

    python3 defenses/tests/golden/keys.py

Made with Python 3.11. The numbers stand in defenses/tests/keys.rs and in the tests of
defenses/src/key.rs. Stored vectors depend on them: they never change.
"""

import hashlib
import hmac


def hkdf(key: bytes, info: bytes) -> bytes:
    """RFC 5869 with SHA-256, no salt, and 32 bytes of output, which is a single block."""
    extracted = hmac.digest(bytes(32), key, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")


def derive(key: bytes, purpose: str, dim: int) -> str:
    return hkdf(key, purpose.encode() + dim.to_bytes(8, "big")).hex()


key = bytes(range(32))
checksum = hashlib.sha256(b"embosk key v1" + key).hexdigest()[:8]
print("text         ", f"embosk1-{key.hex()}-{checksum}")
print("fingerprint  ", derive(key, "embosk fingerprint v1", 0)[:8])
print("rotation, 384", derive(key, "embosk rotation v1", 384))
