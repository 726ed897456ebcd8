"""Which settings of a repository's configuration could run a program or lead outside.

The file is read without git. A setting counts unless it is known to be harmless: git has dozens
that name programs, paths or further files, and each version adds some. Harmless settings are
recognised only in a file of the plain form that git itself writes. Of any other file every byte
counts, so that no text can mean one thing here and another to git (`git-config(1)`, "Syntax").
"""

from __future__ import annotations

import re

from filevault.system.record import Record

_CONTROL = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")
_HEADER = re.compile(r'[ \t]*\[([A-Za-z0-9.-]+)(?: "([^"\\]*)")?\][ \t]*')
_SETTING = re.compile(r"[ \t]*([A-Za-z][A-Za-z0-9-]*)[ \t]*(?:=[ \t]*(.*?))?[ \t]*")
_COMMENT = re.compile(r"[ \t]*(?:[#;].*)?")
_LINE = r"^[ \t]*(?:\[.*\])?[ \t]*%s[ \t]*=(.*)$"  # of a file whose form is not plain
_ESCAPES = {"t": "\t", "n": "\n", "b": "\b", '"': '"', "\\": "\\"}
_MARKS = frozenset('"\\#;')  # with one of these a value may mean something else to git

# These never name a program or a path.
_HARMLESS = frozenset(
    {
        ("core", "repositoryformatversion"),
        ("core", "filemode"),
        ("core", "bare"),
        ("core", "logallrefupdates"),
        ("core", "ignorecase"),
        ("core", "precomposeunicode"),
        ("core", "symlinks"),
        ("branch", "autosetupmerge"),
        ("branch", "autosetuprebase"),
        ("color", "ui"),
        ("fetch", "prune"),
        ("fetch", "prunetags"),
        ("init", "defaultbranch"),
        ("merge", "conflictstyle"),
        ("pull", "ff"),
        ("pull", "rebase"),
        ("push", "autosetupremote"),
        ("push", "default"),
        ("push", "followtags"),
        ("rebase", "autostash"),
        ("user", "email"),
        ("user", "name"),
    }
)
_HARMLESS_OF_ONE = frozenset(
    {
        ("branch", "description"),
        ("branch", "merge"),
        ("branch", "rebase"),
        ("branch", "vscode-merge-base"),  # an editor's own
        ("remote", "fetch"),
        ("remote", "followremotehead"),
        ("remote", "gh-resolved"),  # GitHub's own
        ("remote", "prune"),
        ("remote", "prunetags"),
        ("remote", "push"),
        ("remote", "skipdefaultupdate"),
        ("remote", "skipfetchall"),
        ("remote", "tagopt"),
    }
)
_ADDRESSES = frozenset({("remote", "url"), ("remote", "pushurl")})
# Whatever git makes of quotes and escapes in them, it is a text; what it cannot read ends git.
_TEXTS = frozenset({("user", "name"), ("user", "email"), ("branch", "description")})
# A push to a local path runs that repository's hooks, so only a network address is harmless;
# `file://` is not, and any other word before `://` or `::` names a program. git decodes the user
# and host of `ssh://` and gives them to ssh, whose configuration may put them into a command.
_USER = r"(?:[A-Za-z0-9_][\w.+-]*@)?"
_NETWORK = re.compile(
    rf"(?:https?|git)://[A-Za-z0-9].*"
    rf"|ssh://{_USER}(?:[A-Za-z0-9][\w.-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?/.*"
    rf"|{_USER}[A-Za-z0-9][\w.-]*:(?!:|//).*",
    re.ASCII,
)
_KEY = re.compile(r"(?:[^ ]*: )*([a-z0-9-]+)\.(?:(.*)\.)?([a-z0-9-]+)", re.DOTALL)

WHOLE = ""
"""The key under which a whole file counts."""


class GitSetting(Record):
    """One line of a file of plain form; section and name are in lower case."""

    section: str
    subsection: str | None
    name: str
    value: str | None

    @property
    def key(self) -> str:
        """The name as `git config` prints it."""
        middle = "" if self.subsection is None else f"{self.subsection}."
        return f"{self.section}.{middle}{self.name}"


def plain_settings(data: bytes) -> list[GitSetting] | None:
    """Return the settings of a file of plain form, in order; None for any other file."""
    data = data.replace(b"\r\n", b"\n")
    if _CONTROL.search(data) or re.search(rb"\\$", data, re.MULTILINE):
        return None
    settings = []
    section: tuple[str, str | None] | None = None
    for line in data.decode("utf-8", "surrogateescape").split("\n"):
        if _COMMENT.fullmatch(line):
            continue
        header = _HEADER.fullmatch(line)
        if header is not None:
            section = header[1].lower(), header[2]
            continue
        setting = _SETTING.fullmatch(line)
        if setting is None or section is None:
            return None
        settings.append(GitSetting(*section, setting[1].lower(), setting[2]))
    return settings


def counted(data: bytes) -> dict[str, str]:
    """Return the settings that count: key to values joined by line ends.

    If the form of the file is not plain, the whole file is under the key `WHOLE`.
    """
    settings = plain_settings(data)
    if settings is None:
        return {WHOLE: data.decode("utf-8", "surrogateescape")}
    remotes = {each.subsection for each in settings if each.section == "remote" and _is_url(each)}
    values: dict[str, list[str]] = {}
    for setting in settings:
        if not _is_harmless(setting, remotes):
            value = "(no value)" if setting.value is None else setting.value
            values.setdefault(setting.key, []).append(value)
    return {key: "\n".join(each) for key, each in values.items()}


def _is_url(setting: GitSetting) -> bool:
    return setting.subsection is not None and setting.name == "url" and bool(setting.value)


def _is_harmless(setting: GitSetting, remotes: set[str | None]) -> bool:
    value = setting.value
    pair = setting.section, setting.name
    if value is not None and pair in _TEXTS:
        return (setting.subsection is None) == (pair in _HARMLESS)
    if value is None or _MARKS & set(value):
        return False
    if setting.subsection is None:
        if pair == ("remote", "pushdefault"):
            return value in remotes
        return pair in _HARMLESS
    if pair in _ADDRESSES:
        return _NETWORK.fullmatch(value) is not None
    if pair in (("branch", "remote"), ("branch", "pushremote")):
        # Without a remote of that name, git reads the word as a path; `.` is this repository.
        return value == "." or value in remotes
    return pair in _HARMLESS_OF_ONE


def is_harmless_without(key: str) -> bool:
    """Return whether a setting that counted, named as in a fingerprint, may be gone.

    So it is if it could name neither a program nor a path, or nothing but where a remote is. A
    remote that is gone makes what refers to it count.
    """
    found = _KEY.fullmatch(key)
    if found is None:
        return False
    pair = found[1], found[3]
    if found[2] is None:
        return pair in _HARMLESS
    return pair in _HARMLESS_OF_ONE or pair in _ADDRESSES


def is_address(key: str) -> bool:
    """Return whether a setting that counts, named as in a fingerprint, is a remote's address."""
    found = _KEY.fullmatch(key)
    return found is not None and found[2] is not None and (found[1], found[3]) in _ADDRESSES


def hook_folders(data: bytes) -> list[str]:
    """Return the values of `core.hooksPath` in a file."""
    return _values(data, ("core",), "hookspath")


def included(data: bytes) -> list[str]:
    """Return the paths of all files that a file includes, conditionally or not."""
    return _values(data, ("include", "includeif"), "path")


def _values(data: bytes, sections: tuple[str, ...], name: str) -> list[str]:
    """Return the values of a setting; in a file that is not plain, of every line so named."""
    settings = plain_settings(data)
    if settings is None:
        line = re.compile(_LINE % name, re.IGNORECASE | re.MULTILINE)
        found = [text.strip() for text in line.findall(data.decode("utf-8", "surrogateescape"))]
    else:
        found = [
            setting.value or ""
            for setting in settings
            if setting.section.partition(".")[0] in sections and setting.name == name
        ]
    return [value for text in found if (value := unquoted(text))]


def unquoted(text: str) -> str:
    """Return a value as git reads it: without quotes, escapes and comments."""
    result, inside, letters = "", False, iter(text)
    for letter in letters:
        if letter == "\\":
            result += _ESCAPES.get(next(letters, ""), "")
        elif letter == '"':
            inside = not inside
        elif letter in "#;" and not inside:
            return result.rstrip(" \t")
        else:
            result += letter
    return result
