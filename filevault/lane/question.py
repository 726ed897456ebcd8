"""The question: a digest of everything about a run that is known before a file is read.

A command line is in the lane only if each of its words is in these tables: an option that they
lack is a miss. So is a relative path, which means another file in another folder.
"""

import posix
import sys

from filevault import __version__
from filevault.lane.digest import hash_of_list

COMMANDS = ("exec", "export")
VALUE_OPTIONS = {
    "": (
        *("--vault", "--backend", "--prefix", "--pass-prefix", "--pass-dir", "--pin", "--prompt"),
        "--key-file",
    ),
    "exec": ("-d", "--duration", "--region", "--min-ttl"),
    "export": ("-d", "--duration", "--region", "--min-ttl", "--format"),
}
"""The options with a value: those of every command, and those of one."""
FLAGS = {"": ("--strict", "--allow-http"), "exec": ("-j", "--json"), "export": ()}
"""The options without a value."""
_KEY_FILE = "--key-file"
_PATH_OPTIONS = ("--vault", "--pass-dir", _KEY_FILE)
_DEBUG = "--debug"

SECRETS = (
    b"FILEVAULT_PASSPHRASE",
    b"FILEVAULT_NEW_PASSPHRASE",
    b"FILEVAULT_SOURCE_PASSPHRASE",
    b"FILEVAULT_SOURCE_KEY",
    b"FILEVAULT_SOURCE_AGE_IDENTITY",
    b"FILEVAULT_KEY",
    b"FILEVAULT_AGE_IDENTITY",
    b"AWS_VAULT_FILE_PASSPHRASE",
)
"""Of a variable that begins so only the name counts: by a fast hash it could be guessed."""
FAMILIES = (b"AWS_", b"FILEVAULT_", b"XDG_", b"PASSWORD_STORE_", b"PASSAGE_", b"PYTHON")
"""The variables that count by name and value begin so, besides NAMES."""
NAMES = (b"HOME", b"GNUPGHOME")
_NAME_ONLY = (*SECRETS, b"PASS")  # PASSWORD and the like are nothing to filevault, and secret
_DESCRIPTOR = b"_FD"
_PATH_ENDINGS = (b"_DIR", b"_FILE", b"_HOME", b"_BUNDLE")
_OFF = b"FILEVAULT_NO_LANE"
_DEBUG_VARIABLE = b"FILEVAULT_DEBUG"
FALSE = (b"", b"0", b"f", b"F", b"false", b"FALSE", b"False")
_JOB = b"/proc/sys/kernel/random/boot_id"
_NAMESPACES = (b"/proc/self/ns/mnt", b"/proc/self/ns/user")


class Question:
    """A command line that the lane may serve.

    `digest` is the question; `command` the program to run with its arguments, None if credentials
    are printed; `key_file` the path of `--key-file`, empty if that is not given; `debug` whether
    the lane only says what it would do.
    """

    __slots__ = ("command", "debug", "digest", "key_file")

    def __init__(
        self, digest: bytes, command: list[str] | None, key_file: str, *, debug: bool
    ) -> None:
        self.digest = digest
        self.command = command
        self.key_file = key_file.encode(sys.getfilesystemencoding(), "surrogateescape")
        self.debug = debug


class MissError(Exception):
    """The normal path is taken; the text says why."""


def ask(words: list[str], environ: dict[bytes, bytes]) -> Question:
    """Return the question of a command line in an environment. Raises MissError, OSError."""
    if sys.maxsize < 1 << 32:
        raise MissError("there is no lane for programs of 32 bits")
    name, own, command, key_file, debug = _split(words)
    if environ.get(_OFF, b"") not in FALSE:
        raise MissError("FILEVAULT_NO_LANE turns it off")
    code = posix.stat(__file__)  # another file after each installation, even of the same version
    parts = [
        b"filevault-question-1",
        __version__.encode(),
        b"%d %d %d %d" % (code.st_dev, code.st_ino, code.st_size, code.st_mtime_ns),
        f"{sys.hexversion:x} {__file__}".encode("utf-8", "surrogateescape"),
        sys.getfilesystemencoding().encode(),  # in which the words below were read
        name.encode(),
        *_counted([word.encode("utf-8", "surrogateescape") for word in own]),
    ]
    found: list[bytes] = []
    for variable in sorted(environ):
        value = environ[variable]
        if variable == _DEBUG_VARIABLE and value not in FALSE:
            debug = True
        elif variable.startswith(SECRETS):
            if variable.endswith(_DESCRIPTOR):
                raise MissError("a variable names a descriptor")
            found += [variable, b""]
        elif variable.startswith(FAMILIES) or variable in NAMES:
            if variable.endswith(_PATH_ENDINGS) or variable in NAMES:
                _check_path(value)
            found += [variable, value]
        elif variable.startswith(_NAME_ONLY):
            found += [variable, b""]
    if b"HOME" not in environ:
        raise MissError("HOME is not set")
    uids, gids = posix.getresuid(), posix.getresgid()
    if len({*uids}) != 1 or len({*gids}) != 1:
        raise MissError("the process runs for two users")
    groups = sorted(posix.getgroups())
    parts += [
        *_counted(found),
        b"%d %d " % (uids[0], gids[0]) + b" ".join([b"%d" % group for group in groups]),
        *[posix.readlink(each) for each in _NAMESPACES],
        _boot_id(),
    ]
    return Question(hash_of_list(parts), command, key_file, debug=debug)


def _counted(parts: list[bytes]) -> list[bytes]:
    """Return a list with its length before it, so that two lists cannot be taken for others."""
    return [b"%d" % len(parts), *parts]


def _check_path(value: bytes) -> None:
    """Raise MissError for a relative path. `$` may begin an absolute one; what is read decides."""
    if value and not value.startswith((b"/", b"~/", b"$")):
        raise MissError("a variable has a relative path")


def _boot_id() -> bytes:
    fd = posix.open(_JOB, posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        return posix.read(fd, 64)
    finally:
        posix.close(fd)


def _split(words: list[str]) -> tuple[str, list[str], list[str] | None, str, bool]:
    """Return the command, filevault's own words, the program to run, the key file, `--debug`.

    Splits exactly as `filevault.cli.parser.split_command` does. Raises MissError for a word that
    the lane does not know.
    """
    own: list[str] = []
    name, key_file, debug, prints = "", "", False, False
    positionals = index = 0
    while index < len(words):
        word = words[index]
        index += 1
        if word == "--":
            if name != "exec":
                raise MissError("this command line is not in the lane")
            return name, own, _program(words[index:], prints), key_file, debug
        if not word.startswith("-") or word == "-":
            if not name:
                if word not in COMMANDS:
                    raise MissError("only exec and export are in the lane")
                name = word
                continue
            positionals += 1
            if positionals == 2:
                if name != "exec":
                    raise MissError("this command line is not in the lane")
                return name, own, _program(words[index - 1 :], prints), key_file, debug
            own.append(word)
            continue
        option, equals, value = word.partition("=")
        known = (*VALUE_OPTIONS[""], *VALUE_OPTIONS.get(name, ()))
        if option in known and (not equals or word.startswith("--")):
            if not equals:
                if index == len(words):
                    raise MissError("this command line is not in the lane")
                value = words[index]
                index += 1
            if option in _PATH_OPTIONS and not value.startswith(("/", "~/")):
                raise MissError("an option has a relative path")
            if option == _KEY_FILE:
                key_file = value
            own += [option, value]
        elif word in FLAGS[""] or word in FLAGS.get(name, ()):
            prints = prints or word in FLAGS["exec"]
            own.append(word)
        elif word == _DEBUG:
            debug = True
        else:
            raise MissError(f"an option is not in the lane: {option[:20]}")
    if not name or (name == "exec" and not prints):
        raise MissError("this command line is not in the lane")
    return name, own, None, key_file, debug


def _program(words: list[str], prints: bool) -> list[str]:
    if prints or not words or not words[0]:
        raise MissError("this command line is not in the lane")
    return words
