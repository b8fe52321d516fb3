"""Certificates for tests, made by ``openssl``, which Debian's Java brings along."""

import shutil
import subprocess
from pathlib import Path

_INSTALL = "apt-get install -y openssl"
_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")


class Authority:
    """A certificate authority of its own in ``directory``; ``ca`` is its certificate. All files are PEM."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._key = directory / "ca.key"
        self.ca = directory / "ca.pem"
        _openssl("req", "-x509", *_NEW_KEY, "-nodes", "-keyout", self._key, "-out", self.ca, "-subj", "/CN=authority")

    def issue(self, name: str, *, password: str = "") -> Path:
        """Return a new file with a certificate for ``name`` at 127.0.0.1, and its key, encrypted if a password is."""
        key, cert = self._directory / f"{name}.key", self._directory / f"{name}.pem"
        encryption = ("-passout", f"pass:{password}") if password else ("-nodes",)
        authority = ("-CA", self.ca, "-CAkey", self._key)
        names = ("-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1")
        ends = ("-addext", "basicConstraints=critical,CA:FALSE")
        _openssl("req", "-x509", *_NEW_KEY, *encryption, *authority, *names, *ends, "-keyout", key, "-out", cert)
        cert.write_text(key.read_text() + cert.read_text())
        return cert


def _openssl(*arguments: str | Path) -> None:
    path = shutil.which("openssl")
    if path is None:
        raise RuntimeError(f"the tests make certificates and need openssl; on Debian: {_INSTALL}")
    done = subprocess.run([path, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
