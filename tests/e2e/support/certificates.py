"""A certificate authority for one test."""

import datetime
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


def _name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


class Authority:
    def __init__(self, file):
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("test authority")
        certificate = self._sign(self._name, self._key.public_key(), authority=True)
        file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        self.file = file

    def issue(self, directory, host):
        """Writes tls.crt and tls.key for a host and 127.0.0.1; returns the serial number."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(_name(host), key.public_key(), host=host)
        pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        (directory / "tls.key").write_bytes(
            key.private_bytes(pem, pkcs8, serialization.NoEncryption())
        )
        (directory / "tls.crt").write_bytes(certificate.public_bytes(pem))
        return certificate.serial_number

    def _sign(self, subject, key, authority=False, host=None):
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - DAY)
            .not_valid_after(now + DAY)
            .add_extension(x509.BasicConstraints(authority, None), critical=True)
        )
        if host:
            local = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
            names = x509.SubjectAlternativeName([x509.DNSName(host), local])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self._key, hashes.SHA256())
