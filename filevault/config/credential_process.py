"""Compose and recognise a `credential_process` that runs filevault itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Sequence

_PROGRAM = "filevault"
_VAULT_OPTIONS = {
    "--vault": "vault",
    "--backend": "backend",
    "--prefix": "prefix",
    "--pass-prefix": "prefix",
}
_OTHER_OPTIONS_WITH_VALUE = frozenset(
    {
        "-d",
        "--duration",
        "-t",
        "--mfa-token",
        "--region",
        "--min-ttl",
        "--pass-dir",
        "--identity",
        "--passphrase-fd",
        "--passphrase-file",
        "--key-file",
        "--pin",
        "--slot",
        "--prompt",
    }
)
_FORMATS = ("json", "process")


class ExportCommand(Record):
    """A filevault command that prints a profile's credentials for SDKs.

    `plain` is False if further options change its output.
    """

    profile: str
    vault: str | None = None
    backend: str | None = None
    prefix: str | None = None
    plain: bool = True

    def options(self) -> list[str]:
        """Return the options that select the vault."""
        words = []
        for option, value in (
            ("--vault", self.vault),
            ("--backend", self.backend),
            ("--prefix", self.prefix),
        ):
            if value is not None:
                words += [f"{option}={value}"] if value.startswith("-") else [option, value]
        return words

    def written(self, program: Sequence[str]) -> str:
        """Return the value of `credential_process`; `program` is the command of filevault.

        botocore splits the value as a POSIX shell would, other SDKs give it to `/bin/sh -c`.
        """
        words = [*program, *self.options(), "export"]
        if self.profile.startswith("-"):
            words += ["--format", "json", "--", self.profile]
        else:
            words += [self.profile, "--format", "json"]
        return " ".join(_quoted(word) for word in words)


def parse(value: str) -> ExportCommand | None:
    """Parse a `credential_process`; return None if it does not run filevault."""
    if _PROGRAM not in value:
        return None
    import shlex

    try:
        words = shlex.split(value)
    except ValueError:
        return None
    rest = _arguments(words)
    return None if rest is None else _parsed(rest)


def _arguments(words: Sequence[str]) -> Sequence[str] | None:
    """Return the words after the program, None if that is not filevault."""
    name = words[0].rpartition("/")[2] if words else ""
    if name == _PROGRAM:
        return words[1:]
    for index, word in enumerate(words):
        if word == "-m" and name.startswith("python"):
            return words[index + 2 :] if words[index + 1 : index + 2] == [_PROGRAM] else None
    return None


def _parsed(words: Sequence[str]) -> ExportCommand | None:
    options: dict[str, str] = {}
    positionals: list[str] = []
    form = None
    plain = True
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            positionals += rest
            break
        if not word.startswith("-"):
            positionals.append(word)
            continue
        option, separator, value = word.partition("=")
        if option in ("-j", "--json"):
            form = "json"
            continue
        takes = option == "--format" or option in _VAULT_OPTIONS
        if (takes or option in _OTHER_OPTIONS_WITH_VALUE) and not separator:
            if not rest:
                return None
            value = rest.pop(0)
        if option == "--format":
            form = value
        elif option in _VAULT_OPTIONS:
            options[_VAULT_OPTIONS[option]] = value
        else:
            plain = False
    if len(positionals) != 2 or positionals[0] not in ("export", "exec") or form not in _FORMATS:
        return None
    return ExportCommand(
        positionals[1],
        options.get("vault"),
        options.get("backend"),
        options.get("prefix"),
        plain,
    )


def _quoted(word: str) -> str:
    """Quote a word for a shell and for INI parsers, for which ` #` and ` ;` begin comments."""
    import shlex

    quoted = shlex.quote(word)
    for mark in ("#", ";"):
        quoted = quoted.replace(f" {mark}", f" ''{mark}").replace(f"\t{mark}", f"\t''{mark}")
    return quoted
