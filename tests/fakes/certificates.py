"""Certificates for this machine, and their keys."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID


def certified(folder: Path, *, password: bytes | None = None, name: str | None = None) -> Path:
    """The folder, with a certificate for 127.0.0.1, or for this name, in it (`cert.pem`) and its key (`key.pem`)."""
    key = ec.generate_private_key(ec.SECP256R1())
    who, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gateway")]), datetime.now(UTC)
    where = x509.IPAddress(ip_address("127.0.0.1")) if name is None else x509.DNSName(name)
    made = (
        x509.CertificateBuilder(who, who, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([where]), critical=False)
        .sign(key, hashes.SHA256())
    )
    locked = NoEncryption() if password is None else BestAvailableEncryption(password)
    (folder / "cert.pem").write_bytes(made.public_bytes(Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked))
    return folder
