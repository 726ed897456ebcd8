"""The sealed answer: an answer file that the key file of its vault opens.

The key of the answer is HKDF-SHA-256 (RFC 5869) over what the key file contains, with a salt of its
own; the cipher is AES-256-GCM (NIST SP 800-38D). Both are those of `cryptography`, which a run
without the lane imports as well, and which is imported only when everything else is equal.
"""

import posix

from filevault.lane.answer import ORIGINS
from filevault.lane.question import MissError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from filevault.lane.answer import Half

_PATH_VARIABLE = b"FILEVAULT_KEY_FILE"
"""The variable that may name the key file. The question has only its name."""
_VARIABLE = b"FILEVAULT_KEY"
"""The variable that may contain the key."""
_OTHER_SOURCES = (b"FILEVAULT_PASSPHRASE", _VARIABLE)
"""A variable that begins so has precedence over what the system provides."""
_PROVIDED = (b"/filevault-key", b"/run/secrets/filevault_key")
"""Below `$CREDENTIALS_DIRECTORY`, and where containers have it; as in `secret_sources`."""
_INFO = b"filevault/1 answer"
_KEY, _SALT, _NONCE = 32, 32, 12  # bytes: AES-256; RFC 5869 §3.1; SP 800-38D §5.2.1.1
_MAX_KEY_FILE = 4096
_KIND, _REGULAR, _SHARED = 0o170000, 0o100000, 0o022  # stat(2)


def seal(head: bytes, state: bytes, content: bytes, secret: bytes) -> bytes:
    """Return the bytes of an answer file.

    Args:
        head: its head, which is authenticated with the answer.
        state: the state id of the vault.
        content: the answer.
        secret: what `key_text` returns.
    """
    salt, nonce = posix.urandom(_SALT), posix.urandom(_NONCE)
    return head + salt + nonce + _cipher(secret, salt, state).encrypt(nonce, content, head)


def unseal(half: "Half", key_file: bytes, environ: dict[bytes, bytes]) -> bytes:
    """Return the answer. Raises MissError if the key of this run does not open it, OSError.

    Args:
        half: the answer file.
        key_file: the path of `--key-file`, empty if it is not given.
        environ: the environment of the run, with its secrets.
    """
    secret = key_text(half.origin, key_file, environ)
    salt, nonce = half.masked[:_SALT], half.masked[_SALT : _SALT + _NONCE]
    sealed = half.masked[_SALT + _NONCE :]
    from cryptography.exceptions import InvalidTag

    try:
        return _cipher(secret, salt, half.state).decrypt(nonce, sealed, half.head)
    except InvalidTag:
        raise MissError("the key file does not open the answer") from None


def key_text(origin: tuple[bytes, bytes], key_file: bytes, environ: dict[bytes, bytes]) -> bytes:
    """Return the text of the key. Raises MissError, OSError.

    The run itself must take its key from `origin`, which an answer file names: else that could
    name a file of which another process knows the text, and be sealed under it.
    """
    if origin not in _origins(key_file, environ):
        raise MissError("the key is another one")
    kind, where = origin
    if kind == ORIGINS[1]:
        return environ[where]
    fd = posix.open(where, posix.O_RDONLY | posix.O_NONBLOCK | posix.O_CLOEXEC)
    try:
        info = posix.fstat(fd)
        user = posix.geteuid()
        # Who may read it is checked by the run that records the answer, and is a witness.
        if (
            info.st_mode & _KIND != _REGULAR
            or info.st_mode & _SHARED
            or (info.st_uid not in (0, user) and user != 0)
        ):
            raise MissError("the key file is not one")
        text = posix.read(fd, _MAX_KEY_FILE + 1)
    finally:
        posix.close(fd)
    if not 0 < len(text) <= _MAX_KEY_FILE:
        raise MissError("the key file is not one")
    return text


def _origins(key_file: bytes, environ: dict[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    """Return where a run may take its key from, in the order of `secret_sources`.

    Two are left where the system provides it: of the first a witness says that nothing is there.
    """
    in_file, in_variable = ORIGINS
    path = key_file or environ.get(_PATH_VARIABLE, b"")
    if path:
        if path.startswith(b"~/"):
            path = environ.get(b"HOME", b"").rstrip(b"/") + path[1:]
        return [(in_file, path)] if path.startswith(b"/") else []
    if environ.get(_VARIABLE):
        return [(in_variable, _VARIABLE)]
    if any(name.startswith(_OTHER_SOURCES) for name in environ):
        return []
    folder = environ.get(b"CREDENTIALS_DIRECTORY", b"")
    paths = [folder + _PROVIDED[0]] if folder.startswith(b"/") else []
    return [(in_file, each) for each in [*paths, _PROVIDED[1]]]


def _cipher(secret: bytes, salt: bytes, state: bytes) -> "AESGCM":
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return AESGCM(HKDF(SHA256(), _KEY, salt, _INFO + state).derive(secret))
