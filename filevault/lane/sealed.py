"""The sealed answer: an answer file that the key file of its vault opens.

The key of the answer is HKDF-SHA-256 (RFC 5869) over what the key file contains, with a salt of its
own; the cipher is AES-256-GCM (NIST SP 800-38D). Both are those of `cryptography`, which a run
without the lane imports as well, and which is imported only when everything else is equal.
"""

import posix

from filevault.lane.answer import ORIGINS
from filevault.lane.digest import hash_of_list
from filevault.lane.question import MissError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from filevault.lane.answer import Half

PATH_VARIABLE = b"FILEVAULT_KEY_FILE"
"""The variable that may name the key file. The question has only its name."""
VARIABLE = b"FILEVAULT_KEY"
"""The variable that may contain the key."""
_INFO = b"filevault/1 answer"
_KEY, _SALT, _NONCE = 32, 32, 12  # bytes: AES-256; RFC 5869 §3.1; SP 800-38D §5.2.1.1
_MAX_KEY_FILE = 4096
_KIND, _REGULAR = 0o170000, 0o100000  # stat(2)


def seal(
    head: bytes, state: bytes, content: bytes, secret: bytes, environ: dict[bytes, bytes]
) -> bytes:
    """Return the bytes of an answer file.

    Args:
        head: its head, which is authenticated with the answer.
        state: the state id of the vault.
        content: the answer.
        secret: what `key_text` returns.
        environ: the environment of the run, with its secrets.
    """
    salt, nonce = posix.urandom(_SALT), posix.urandom(_NONCE)
    cipher = _cipher(secret, salt, state)
    return head + salt + nonce + cipher.encrypt(nonce, content, _context(head, environ))


def unseal(half: "Half", environ: dict[bytes, bytes]) -> bytes:
    """Return the answer. Raises MissError if the key of this run does not open it, OSError."""
    secret = key_text(half.origin, environ)
    salt, nonce = half.masked[:_SALT], half.masked[_SALT : _SALT + _NONCE]
    sealed = half.masked[_SALT + _NONCE :]
    from cryptography.exceptions import InvalidTag

    try:
        cipher = _cipher(secret, salt, half.state)
        return cipher.decrypt(nonce, sealed, _context(half.head, environ))
    except InvalidTag:
        raise MissError("the key file does not open the answer") from None


def key_text(origin: tuple[bytes, bytes], environ: dict[bytes, bytes]) -> bytes:
    """Return what the key file or the variable contains. Raises MissError, OSError.

    Who may read the file is checked by the run that records the answer, and is a witness.
    """
    kind, where = origin
    if kind == ORIGINS[1]:
        value = environ.get(where, b"")
        if where != VARIABLE or not value:
            raise MissError("the key is not there")
        return value
    fd = posix.open(where, posix.O_RDONLY | posix.O_NONBLOCK | posix.O_CLOEXEC)
    try:
        if posix.fstat(fd).st_mode & _KIND != _REGULAR:
            raise MissError("the key file is no file")
        text = posix.read(fd, _MAX_KEY_FILE + 1)
    finally:
        posix.close(fd)
    if not 0 < len(text) <= _MAX_KEY_FILE:
        raise MissError("the key file is not one")
    return text


def _cipher(secret: bytes, salt: bytes, state: bytes) -> "AESGCM":
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return AESGCM(HKDF(SHA256(), _KEY, salt, _INFO + state).derive(secret))


def _context(head: bytes, environ: dict[bytes, bytes]) -> bytes:
    """Return what is authenticated: the head, and the variable that may name another key file."""
    value = environ.get(PATH_VARIABLE)
    return head + hash_of_list([b"-" if value is None else b"=" + value])
