"""The token in a file, `web_identity_token_file`; Kubernetes replaces it all day."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from filevault.errors import ProviderError
from filevault.identity_tokens.claims import mark_of
from filevault.identity_tokens.way import TokenWay, checked
from filevault.system.printable import printable

if TYPE_CHECKING:
    from filevault.config.settings import Settings
    from filevault.identity_tokens.way import TokenRequest

_LIMIT = 64 << 10


class FileToken(TokenWay):
    """The token in a file, which is read for each call."""

    path: str

    @property
    def title(self) -> str:
        """The token in `--explain` and in messages."""
        return f"the token in {printable(self.path)!r}"

    def mark(self, settings: Settings) -> tuple[str, ...]:
        """Return the claims of the token that the file contains now."""
        try:
            return mark_of(self._read(settings))
        except ProviderError:
            return ()

    def token(self, request: TokenRequest) -> str:
        """Read the file."""
        return checked(self._read(request.settings), self.title)

    def _read(self, settings: Settings) -> str:
        shown = printable(self.path)
        try:
            fd = os.open(settings.expand(self.path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                if not stat.S_ISREG(os.fstat(fd).st_mode):
                    raise ProviderError(f"web_identity_token_file {shown!r} is not a regular file")
                data = os.read(fd, _LIMIT)
            finally:
                os.close(fd)
        except OSError as error:
            reason = (error.strerror or "unknown reason").lower()
            raise ProviderError(
                f"web_identity_token_file {shown!r} cannot be read: {reason}",
                hint="does the job or pod give it this file?",
            ) from error
        return data.decode("ascii", "replace")
