"""The `age` backend: items encrypted by age, as passage keeps them."""

from __future__ import annotations

from filevault.backends.definition import RECIPIENTS, Backend, OtherTool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from filevault.backends.definition import VaultParts
    from filevault.backends.protocols import RecipientsBackend


def _open(parts: VaultParts) -> RecipientsBackend:
    """Open a vault, as `AgeBackend.open` does."""
    from filevault.backends.age.backend import AgeBackend

    return AgeBackend.open(parts)


AGE = Backend(
    name="age",
    suffix=".age",
    marker=".age-recipients",
    family=RECIPIENTS,
    opener=_open,
    aliases=("passage",),
    has_identities=True,
    keys_name="age identities",
    recipient_term="age recipients",
    keys_hint="filevault recipients says who can open it; age-keygen makes another identity, and "
    "age -p protects its file by a new passphrase",
    tool=OtherTool("PASSAGE_DIR", ".passage/store", exclusive=False),
)
