"""Credential source: the long-term key stored in the vault under the profile's name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault import errors
from filevault.errors import FilevaultError
from filevault.sources.source import CredentialProvider, Source

if TYPE_CHECKING:
    from filevault.config.profile import Profile
    from filevault.credentials import AccessKey, Credentials
    from filevault.sources.source import SourceDependencies


def item_reference(name: str) -> str:
    """Return the name of an item as a credential source, for session files."""
    return f"item:{name}"


class StoredKey(Source):
    """The long-term key stored under a profile's name."""

    declares_inputs = True  # the item's file, which is read for its digest

    profile: str

    @classmethod
    def of(cls, profile: Profile) -> StoredKey:
        """Return the key that is stored under the profile's name."""
        return cls(profile.name)

    @property
    def is_long_term(self) -> bool:
        """True: it is the key of an IAM user."""
        return True

    @property
    def reference(self) -> str:
        """`item:` and the name of the item."""
        return item_reference(self.profile)

    @property
    def title(self) -> str:
        """The name of the step in the tree of `--explain`."""
        return "stored key"

    @property
    def signer(self) -> str:
        """The name of the key in `--explain` where it signs a call."""
        return "the stored key"

    @property
    def description(self) -> str:
        """The text of `--explain` where no call is made."""
        return "the stored long-term key itself is issued"

    def identity(self, dependencies: SourceDependencies) -> str:
        """Return SHA-256 of the item's file: a rewritten item merely misses the cache."""
        return dependencies.keys().item_digest(self.profile)

    def provider(self, dependencies: SourceDependencies) -> StoredKeyProvider:
        """Return the provider that decrypts the key."""
        return StoredKeyProvider(self, dependencies)


class StoredKeyProvider(CredentialProvider):
    """Returns the key, which has no expiry; it is decrypted when it is asked for."""

    __slots__ = ("_dependencies", "_key", "_step")

    def __init__(self, step: StoredKey, dependencies: SourceDependencies) -> None:
        self._step = step
        self._dependencies = dependencies
        self._key: AccessKey | None = None  # the key that was returned last

    def retrieve(self) -> Credentials:
        """Decrypt the key. Raises what `KeySource.access_key` raises."""
        from filevault.credentials import Credentials

        keys, identify = self._dependencies.keys(), self._dependencies.identify
        self._key = key = keys.access_key(self._step.profile, identify)
        return Credentials(key.access_key_id, key.secret_access_key)

    def replacement(self, refused: Credentials) -> Credentials | None:
        """Return the key that is stored now, None if it is the refused one or cannot be read."""
        try:
            found = self.retrieve()
        except errors.InterruptedByUserError:
            raise
        except FilevaultError:
            return None
        return None if found == refused else found

    def learn_account(self, account: str | None) -> None:
        """Remember the key's account where the key's id does not contain it.

        If the answer of the call does not have it either, AWS is asked once; if that fails, a
        later run asks again.
        """
        name, key, keys = self._step.profile, self._key, self._dependencies.keys()
        identify = self._dependencies.identify
        if key is None or identify is None or not keys.needs_account(name, key.access_key_id):
            return
        try:
            account = account or identify(key)
        except errors.InterruptedByUserError:
            raise
        except FilevaultError:
            return
        keys.record_account([name], key.access_key_id, account)
