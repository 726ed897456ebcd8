"""The stored long-term key, decrypted only when something has to be signed with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.credentials import Credentials
from filevault.errors import AwsError, FilevaultError, InterruptedByUserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.credentials import AccessKey
    from filevault.plan.steps import StoredKey
    from filevault.sources.protocols import CredentialProvider, KeySource

_UNKNOWN = frozenset({"InvalidAccessKeyId", "InvalidClientTokenId", "UnrecognizedClientException"})


class StoredProvider:
    """Hands out the key itself, which has no expiry.

    `identify` asks AWS whose account a key is of; None where no call is made with the key.
    """

    __slots__ = ("_identify", "_keys", "_step", "key")

    def __init__(
        self,
        step: StoredKey,
        keys: KeySource,
        identify: Callable[[AccessKey], str] | None = None,
    ) -> None:
        self._step = step
        self._keys = keys
        self._identify = identify
        self.key: AccessKey | None = None
        """The key that was handed out last."""

    def retrieve(self) -> Credentials:
        """Decrypt the key. Raises what `KeySource.access_key` raises."""
        self.key = self._keys.access_key(self._step.profile, self._identify)
        return Credentials(self.key.access_key_id, self.key.secret_access_key)

    def replacement(self, refused: Credentials) -> Credentials | None:
        """Return the key that is stored now, None if it is the refused one or cannot be read."""
        try:
            found = self.retrieve()
        except InterruptedByUserError:
            raise
        except FilevaultError:
            return None
        return None if found == refused else found

    def learn_account(self, told: str | None) -> None:
        """Remember the key's account after a call with it, where the key's id does not tell it.

        `told` is what the answer said of it, None if nothing: then AWS is asked once. If that
        fails, a later run asks again.
        """
        name, key = self._step.profile, self.key
        if key is None or self._identify is None:
            return
        if not self._keys.needs_account(name, key.access_key_id):
            return
        try:
            account = told or self._identify(key)
        except InterruptedByUserError:
            raise
        except FilevaultError:
            return
        self._keys.record_account([name], key.access_key_id, account)


class Learning:
    """Wrap the first call of a chain: what AWS tells of the stored key is remembered.

    `tells` says that the account of the answer is the key's, as that of a federated user is; a
    role may be of another account.
    """

    __slots__ = ("_inner", "_source", "_tells")

    def __init__(self, inner: CredentialProvider, source: StoredProvider, *, tells: bool) -> None:
        self._inner = inner
        self._source = source
        self._tells = tells

    def retrieve(self) -> Credentials:
        """Make the call. Raises what it raises."""
        credentials = self._inner.retrieve()
        self._source.learn_account(credentials.account_id if self._tells else None)
        return credentials


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
