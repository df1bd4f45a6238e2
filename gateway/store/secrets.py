"""Encryption of app-specific passwords and keyed blind indexes; the only file that knows the key.

Format of a ciphertext: version byte, 12-byte nonce, AES-256-GCM output. The key id is stored
beside it. The associated data names table, field and row, so a ciphertext moved to another row
does not decrypt. Subkeys come from the master key by HKDF with a purpose label.
"""

import hashlib
import hmac
import json
import os
import secrets as random_source
import tempfile
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gateway.core.errors import StoreError

_VERSION = b"\x01"
_NONCE_BYTES = 12
KEYRING_VARIABLE = "GATEWAY_KEYRING"


class Keyring:
    """Master keys by id; the newest encrypts, all decrypt. Never leaves this process's memory."""

    def __init__(self, keys: dict[str, bytes], current: str) -> None:
        if current not in keys or any(len(key) != 32 for key in keys.values()):
            raise ValueError("a keyring needs 32-byte keys and a current one among them")
        self._keys = keys
        self._derived: dict[tuple[str, str], bytes] = {}
        self.current = current

    def __repr__(self) -> str:
        return f"<Keyring of {len(self._keys)} keys>"

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the keyring from ``GATEWAY_KEYRING`` (JSON) or from the file.

        Raises ``FileNotFoundError``, and ``PermissionError`` when others may read the file.
        """
        text = os.environ.get(KEYRING_VARIABLE)
        if text is None:
            if path.stat().st_mode & 0o077:
                raise PermissionError(f"{path} may be read by others; run: chmod 600 {path}")
            text = path.read_text(encoding="utf-8")
        stored = json.loads(text)
        keys = {name: b64decode(value) for name, value in stored["keys"].items()}
        return cls(keys, stored["current"])

    @classmethod
    def create(cls, path: Path) -> Self:
        """Make a keyring with one new key at ``path``, mode 0600; never overwrites."""
        keyring = cls({"k1": random_source.token_bytes(32)}, "k1")
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(keyring._dump())
        return keyring

    def rotate(self, path: Path) -> Self:
        """Return a keyring with one more key, current from now on, and replace the file."""
        name = f"k{len(self._keys) + 1}"
        rotated = type(self)({**self._keys, name: random_source.token_bytes(32)}, name)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent)  # created with mode 0600
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(rotated._dump())
        Path(temporary).replace(path)
        return rotated

    def _dump(self) -> str:
        keys = {name: b64encode(key).decode("ascii") for name, key in self._keys.items()}
        return json.dumps({"current": self.current, "keys": keys}, indent=1) + "\n"

    def encrypt(self, plain: bytes, *, owner_id: str, field: str) -> tuple[str, bytes]:
        """Return (key id, ciphertext) bound to the row ``owner_id`` and ``field``."""
        nonce = random_source.token_bytes(_NONCE_BYTES)
        sealed = self._cipher(self.current).encrypt(nonce, plain, _binding(owner_id, field))
        return self.current, _VERSION + nonce + sealed

    def decrypt(self, key_id: str, ciphertext: bytes, *, owner_id: str, field: str) -> bytes:
        """Undo :meth:`encrypt`; raises :class:`StoreError` for a wrong key, row or text."""
        if key_id not in self._keys or ciphertext[:1] != _VERSION:
            raise StoreError("A stored secret needs a key that is not in the keyring.")
        nonce, sealed = ciphertext[1 : 1 + _NONCE_BYTES], ciphertext[1 + _NONCE_BYTES :]
        try:
            return self._cipher(key_id).decrypt(nonce, sealed, _binding(owner_id, field))
        except InvalidTag:
            raise StoreError("A stored secret does not belong to this row or key.") from None

    def blind_index(self, value: str, *, purpose: str, key_id: str = "k1") -> bytes:
        """Return a keyed digest of ``value`` for look-ups without storing it (R2)."""
        subkey = self._subkey(key_id, f"blind-index/{purpose}")
        return hmac.new(subkey, value.encode("utf-8"), hashlib.sha256).digest()

    def _cipher(self, key_id: str) -> AESGCM:
        return AESGCM(self._subkey(key_id, "secrets"))

    def _subkey(self, key_id: str, purpose: str) -> bytes:
        found = self._derived.get((key_id, purpose))
        if found is None:
            hkdf = HKDF(SHA256(), 32, salt=None, info=f"gateway/{purpose}".encode())
            found = self._derived[key_id, purpose] = hkdf.derive(self._keys[key_id])
        return found


def _binding(owner_id: str, field: str) -> bytes:
    return f"secrets/{field}/{owner_id}".encode()
