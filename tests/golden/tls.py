"""Writes tests/data/tls/: an authority, two certificates of it for this machine, and an authority that signed neither.

The keys protect nothing. cryptography 48.0. Run it in the repository's root: python3 tests/golden/tls.py
"""

from datetime import datetime, timezone
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

FOLDER = Path("tests/data/tls")


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in ["authority", "stranger", "server", "renewed"]}
    for name in ["authority", "stranger"]:
        is_authority = x509.BasicConstraints(ca=True, path_length=None)
        write(name, signed(keys, name, by=name).add_extension(is_authority, critical=True).sign(keys[name], hashes.SHA256()))
    here = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))])
    for name in ["server", "renewed"]:
        builder = signed(keys, name, by="authority").add_extension(here, critical=False)
        write(name, builder.sign(keys["authority"], hashes.SHA256()))
        (FOLDER / f"{name}.key").write_bytes(pem(keys[name], NoEncryption()))
    (FOLDER / "locked.key").write_bytes(pem(keys["server"], BestAvailableEncryption(b"embosk")))


def signed(keys, name, by):
    title = lambda one: x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"embosk test {one}")])
    return (
        x509.CertificateBuilder()
        .subject_name(title(name))
        .issuer_name(title(by))
        .public_key(keys[name].public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime(2020, 1, 1, tzinfo=timezone.utc))
        .not_valid_after(datetime(2120, 1, 1, tzinfo=timezone.utc))
    )


def write(name, certificate):
    (FOLDER / f"{name}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))


def pem(key, encryption):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


if __name__ == "__main__":
    main()
