"""The `pass` backend: items encrypted by gpg, as pass keeps them."""

from __future__ import annotations

from filevault.backends.definition import RECIPIENTS, Backend, KeyAgent, OtherTool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from filevault.backends.definition import VaultParts
    from filevault.backends.protocols import RecipientsBackend


def _open(parts: VaultParts) -> RecipientsBackend:
    """Open a vault, as `GpgBackend.open` does."""
    from filevault.backends.gpg.backend import GpgBackend

    return GpgBackend.open(parts)


PASS = Backend(
    name="pass",
    suffix=".gpg",
    marker=".gpg-id",
    family=RECIPIENTS,
    opener=_open,
    aliases=("gpg",),
    keys_name="gpg keys",
    recipient_term="GPG id",
    keys_hint="filevault recipients says who can open it; gpg --change-passphrase KEY changes the "
    "passphrase of a gpg key",
    tool=OtherTool("PASSWORD_STORE_DIR", ".password-store", exclusive=True),
    agent=KeyAgent(
        "gpg-agent",
        "gpg-agent keeps its own keys: gpgconf --reload gpg-agent lets it forget them",
        "set default-cache-ttl and max-cache-ttl in gpg-agent.conf",
    ),
)
