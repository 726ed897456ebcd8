"""Token records: what a sign-in leaves, encrypted beside the sessions, and a store of them.

A source gets the store as `SourceDependencies.tokens`. A refresh follows one order: `lock`, `read`
again, return if another process has refreshed meanwhile, `prepare`, call AWS, `replace`, and only
then use what AWS returned.
"""

from __future__ import annotations

from filevault import errors
from filevault.system.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager
    from typing import Protocol

    class TokenRecords(Protocol):
        """A store of token records. Each method may raise LockedError and StorageError."""

        def read(self, name: TokenName) -> TokenRecord | None:
            """Return a record, None if there is none or it cannot be trusted."""
            ...

        def prepare(self, name: TokenName) -> None:
            """Raise if a record could not be replaced now.

            Call it before a request that makes the present tokens invalid.
            """
            ...

        def replace(self, name: TokenName, record: TokenRecord) -> None:
            """Store a record durably; on return it survives a power failure."""
            ...

        def discard(self, name: TokenName) -> bool:
            """Delete a record durably; return whether there was one.

            A refresh under way is waited for some seconds, so that it does not store it again.
            """
            ...

        def lock(self, name: TokenName, action: str) -> AbstractContextManager[None]:
            """Let one process at a time read, refresh and replace a record; the others wait.

            `action` completes "another filevault that is ...": `signing in to 'work'`. Raises
            BusyError after a minute where no person can end the wait.
            """
            ...


SSO_TOKEN = "sso-token"  # noqa: S105 - an item kind
"""The kind of the tokens of an Identity Center session."""
SSO_CLIENT = "sso-client"
"""The kind of a registration as a client of Identity Center."""
LOGIN = "login"
"""The kind of a console login, of `login_session`."""


class TokenName(Record):
    """The name of a token record, which determines its file.

    `kind` is SSO_TOKEN, SSO_CLIENT or LOGIN. `identity` is everything that the record is bound to,
    such as start URL, region and scopes; another identity is another record. `source` is the
    reference of the credential source, as in session files: `sso:<name>`, `login:<name>`.
    """

    kind: str
    identity: tuple[str, ...]
    source: str


class TokenRecord(Record):
    """The content of a token record; `values` has texts by their names.

    `expires` is until when it serves, in Unix seconds, and `renewable` whether it can be renewed
    without a person after that. Both are stored unencrypted and authenticated, for listings.
    """

    _secret = ("values",)

    values: Mapping[str, str]
    expires: int | None = None
    renewable: bool = False


class ListedToken(Record):
    """A token record as its file's header says, which is not authenticated in a listing."""

    kind: str
    source: str
    expires: int | None
    renewable: bool


def sign_in_first(message: str, command: str) -> errors.ProviderError:
    """Return the error for a source that needs a sign-in, where there is no terminal.

    `command` is the command line that signs in, such as `filevault sso login work`.
    """
    return errors.ProviderError(message, hint=f"sign in with: {command}")
