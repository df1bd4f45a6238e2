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

from gateway.core.errors import KeyMismatch, SecretUnreadable

_VERSION = b"\x01"
_NONCE_BYTES = 12
_KEY_BYTES = 32
KEYRING_VARIABLE = "GATEWAY_KEYRING"


class Keyring:
    """Master keys by id; the newest encrypts, all decrypt. Never leaves this process's memory.

    ``index_key`` is the id of the key that blind indexes are made with: it stays when keys rotate.
    """

    def __init__(self, keys: dict[str, bytes], current: str, index_key: str | None = None) -> None:
        self.index_key = index_key or _oldest(keys)
        named = {current, self.index_key}
        if not named <= keys.keys() or any(len(key) != _KEY_BYTES for key in keys.values()):
            raise ValueError("a keyring needs 32-byte keys and the current one among them")
        self._keys = keys
        self._derived: dict[tuple[str, str], bytes] = {}
        self.current = current

    def __repr__(self) -> str:
        return f"<Keyring of {len(self._keys)} keys>"

    @property
    def key_ids(self) -> frozenset[str]:
        """The ids of the keys, which are no secret."""
        return frozenset(self._keys)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the keyring from ``GATEWAY_KEYRING`` (JSON) or from the file.

        Raises :class:`KeyMismatch`: ``key-missing``, ``key-open-to-others`` (the file's mode) or
        ``key-malformed``; it never quotes what was read.
        """
        text = os.environ.get(KEYRING_VARIABLE)
        if text is not None:
            return cls._parse(text, f"The variable {KEYRING_VARIABLE}")
        return cls._parse(_read_private(path), f"The key file {path}")

    @classmethod
    def _parse(cls, text: str, what: str) -> Self:
        try:
            stored = json.loads(text)
            keys = {
                str(name): b64decode(value, validate=True) for name, value in stored["keys"].items()
            }
            return cls(keys, stored["current"], stored.get("index"))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise KeyMismatch(
                f"{what} is no keyring that `gateway init` made; put its copy back.",
                code="key-malformed",
            ) from None

    @classmethod
    def create(cls, path: Path) -> Self:
        """Make a keyring with one new key at ``path``, mode 0600; never overwrites.

        Raises ``FileExistsError``, and :class:`KeyMismatch` where no file can be made.
        """
        name = _new_key_id()
        keyring = cls({name: random_source.token_bytes(_KEY_BYTES)}, name)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise
        except OSError as error:
            raise KeyMismatch(
                f"The key file {path} cannot be made ({error.strerror}); name another place in"
                " keyring_file, or give its folder to the user that runs the gateway.",
                code="key-unwritable",
            ) from error
        try:
            keyring._write(descriptor)
        except BaseException:
            path.unlink()  # half a key file is worse than none
            raise
        return keyring

    def rotate(self, path: Path) -> Self:
        """Return a keyring with one more key, current from now on, and replace the file."""
        name = _new_key_id()
        keys = {**self._keys, name: random_source.token_bytes(_KEY_BYTES)}
        rotated = type(self)(keys, name, self.index_key)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent)  # created with mode 0600
        rotated._write(descriptor)
        Path(temporary).replace(path)
        return rotated

    def _write(self, descriptor: int) -> None:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(self._dump())
            file.flush()
            os.fsync(descriptor)

    def _dump(self) -> str:
        keys = {name: b64encode(key).decode("ascii") for name, key in self._keys.items()}
        stored = {"current": self.current, "index": self.index_key, "keys": keys}
        return json.dumps(stored, indent=1) + "\n"

    def check_value(self, key_id: str) -> bytes:
        """Return what the database keeps of a key, to know it by (R45): nothing follows from it."""
        subkey = self._subkey(key_id, "key-check")
        return hmac.new(subkey, key_id.encode("utf-8"), hashlib.sha256).digest()

    def encrypt(self, plain: bytes, *, owner_id: str, field: str) -> tuple[str, bytes]:
        """Return (key id, ciphertext) bound to the row ``owner_id`` and ``field``."""
        nonce = random_source.token_bytes(_NONCE_BYTES)
        sealed = self._cipher(self.current).encrypt(nonce, plain, _binding(owner_id, field))
        return self.current, _VERSION + nonce + sealed

    def decrypt(self, key_id: str, ciphertext: bytes, *, owner_id: str, field: str) -> bytes:
        """Undo :meth:`encrypt`; raises :class:`SecretUnreadable` for a wrong key, row or text."""
        if key_id not in self._keys:
            raise SecretUnreadable("A stored secret needs a key that is not in the keyring.")
        if ciphertext[:1] != _VERSION or len(ciphertext) <= 1 + _NONCE_BYTES:
            raise SecretUnreadable("A stored secret is damaged: it has not the form of one.")
        nonce, sealed = ciphertext[1 : 1 + _NONCE_BYTES], ciphertext[1 + _NONCE_BYTES :]
        try:
            return self._cipher(key_id).decrypt(nonce, sealed, _binding(owner_id, field))
        except (InvalidTag, ValueError):  # or too short to be a ciphertext at all
            raise SecretUnreadable(
                "A stored secret is damaged, or belongs to another row."
            ) from None

    def blind_index(self, value: str, *, purpose: str) -> bytes:
        """Return a keyed digest of ``value`` for look-ups without storing it (R2)."""
        subkey = self._subkey(self.index_key, f"blind-index/{purpose}")
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


def _oldest(keys: dict[str, bytes]) -> str:
    """Return the key that indexes were made with before key files said so: ``k1``, or the first."""
    return "k1" if "k1" in keys else next(iter(keys), "")


def _new_key_id() -> str:
    """Make an id that no other keyring has, so that two are never taken for each other."""
    return "k_" + random_source.token_hex(8)


def _read_private(path: Path) -> str:
    try:
        if path.stat().st_mode & 0o077:
            raise KeyMismatch(
                f"The key file {path} may be read by others; run: chmod 600 {path}",
                code="key-open-to-others",
            )
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise KeyMismatch(
            f"There is no key file at {path}; put its copy there, or name its place in"
            " keyring_file. Only an installation without stored passwords can do with a new one,"
            " which `gateway init` makes.",
            code="key-missing",
        ) from None
    except UnicodeDecodeError:
        return ""  # no keyring either
    except OSError as error:
        raise KeyMismatch(
            f"The key file {path} cannot be read ({error.strerror}); give it to the user that runs"
            " the gateway.",
            code="key-unreadable",
        ) from None
