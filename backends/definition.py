"""Definition of a backend: the record for the registry, and the arguments of its opener."""

from __future__ import annotations

from filevault.system.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Final, Literal

    from filevault.backends.kdf import KdfPolicy
    from filevault.backends.protocols import (
        Creator,
        NamedIdentitySource,
        OpenBackend,
        Person,
        SecretSource,
    )
    from filevault.system.files import Folder

    Family = Literal["sealed", "recipients"]
    """The two ways in which an item is protected."""

SEALED: Final = "sealed"
"""An item is authenticated together with its header.

That is done under a master key that passphrases and key files unwrap.
"""

RECIPIENTS: Final = "recipients"
"""An item is encrypted to public keys.

Other tools write it too, and nothing proves who wrote it.
"""


class SecretRequest(Record):
    """The secrets that an opener can use, and the names of their target in questions and messages.

    `kinds` are `passphrase` and `keyfile`. `target` is what a rejected secret failed to open, for
    the error; `subject` returns the path or name for the question. `useful` returns which of the
    kinds can unlock the vault as it is; it is called before a question.
    """

    kinds: tuple[str, ...]
    target: str
    subject: Callable[[], str]
    useful: Callable[[], tuple[str, ...]] | None = None


class VaultParts(Record):
    """The arguments of an opener. Nothing is read or asked before the backend needs it.

    `root` is the path of the folder that has the items, `prefix` the folders that lead to it
    from the store. `folders_of` returns the folders from the root to an item. `secrets` returns
    a source of secrets, `named_secrets` one only if an option, a variable or the system names
    it. `cached_key` returns what `vault_key` returned earlier, by the commitment or another
    mark. `pinned_recipients` returns the root's recipients that are pinned. `person`
    returns the user at the terminal.
    """

    store: Folder
    root: str
    prefix: tuple[str, ...]
    other_tools: bool
    """Whether the store is another tool's own, whose usual files and variables count."""
    environment: Callable[[], Mapping[str, str]]
    folders_of: Callable[[str], Sequence[str]]
    secrets: Callable[[SecretRequest], SecretSource]
    named_secrets: Callable[[SecretRequest], SecretSource | None]
    identities: Callable[[], NamedIdentitySource]
    cached_key: Callable[[str], bytes | None]
    pinned_recipients: Callable[[], Sequence[str]]
    person: Callable[[], Person] | None
    warn: Callable[[str], None]
    on_asked: Callable[[], None]
    """Called when a program of the backend asks the user."""
    kdf_policy: Callable[[], KdfPolicy]
    """The costs that a passphrase's keyslots may have."""
    last_slot: str | None = None
    """The keyslot that unlocked the vault last time, tried first."""
    only_slot: str | None = None
    """The one keyslot to try (`--slot`)."""


class OtherTool(Record):
    """Another program that keeps stores of a backend's format.

    `variable` names its store, `store` is the usual one, relative to HOME. If it is `exclusive`,
    each store of the format is in its layout; else only those at the paths that it uses.
    """

    variable: str
    store: str
    exclusive: bool


class KeyAgent(Record):
    """A program that keeps a backend's unlocked keys, so that filevault does not."""

    name: str
    forget_hint: str
    lifetime_hint: str


class Backend(Record):
    """One way of encrypting a vault, as the registry lists it.

    `marker` is the path, relative to the store, of the file that makes a folder such a vault;
    a recipients file at the prefix, or between it and the store, counts too. `aliases` are
    other names that options take. `keys_hint` is the hint of a command that needs keyslots.
    """

    name: str
    suffix: str
    marker: str
    family: Family
    opener: Callable[[VaultParts], OpenBackend]
    aliases: tuple[str, ...] = ()
    creator: Creator | None = None
    """None: `init` writes a recipients file instead."""
    has_keyslots: bool = False
    has_identities: bool = False
    """Whether identity files open it, and `init` makes one."""
    keys_name: str = ""
    """The name, for messages, of the keys that open a vault for recipients."""
    recipient_term: str = ""
    """The name of a recipient in the subject of a commit."""
    keys_hint: str = ""
    tool: OtherTool | None = None
    agent: KeyAgent | None = None

    @property
    def title(self) -> str:
        """The vault with its article, for messages, e.g. `an age vault`."""
        return f"{'an' if self.name[0] in 'aeiou' else 'a'} {self.name} vault"
