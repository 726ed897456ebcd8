"""The stored long-term key, decrypted only when something has to be signed with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.credentials import Credentials
from filevault.errors import AwsError, FilevaultError, InterruptedByUserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.providers import CredentialProvider, KeySource
    from filevault.providers.steps import StoredKey

_UNKNOWN = frozenset({"InvalidAccessKeyId", "InvalidClientTokenId", "UnrecognizedClientException"})


class StoredProvider:
    """Hands out the key itself, which has no expiry."""

    __slots__ = ("_keys", "_step")

    def __init__(self, step: StoredKey, keys: KeySource) -> None:
        self._step = step
        self._keys = keys

    def retrieve(self) -> Credentials:
        """Decrypt the key."""
        key = self._keys.access_key(self._step.profile)
        return Credentials(key.access_key_id, key.secret_access_key)

    def replacement(self, refused: Credentials) -> Credentials | None:
        """Return the key that is stored now, None if it is the refused one or cannot be read."""
        try:
            found = self.retrieve()
        except InterruptedByUserError:
            raise
        except FilevaultError:
            return None
        return None if found == refused else found


def signed_by(
    source: CredentialProvider,
    credentials: Credentials,
    call: Callable[[Credentials], Credentials],
) -> Credentials:
    """Make a call with the credentials of a source, a second time if a rotation came between.

    A stored key that AWS does not know may have been replaced since it was read. AWS refuses
    such a call before it looks at a token code, so the same code serves. Raises what `call` does.
    """
    try:
        return call(credentials)
    except AwsError as error:
        if error.code not in _UNKNOWN or not isinstance(source, StoredProvider):
            raise
        found = source.replacement(credentials)
        if found is None:
            raise
    return call(found)
