"""The table of commands, with the modules that implement them and their parsers."""

from __future__ import annotations

from filevault.cli.parser import Parser, add_global_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from filevault.cli.protocols import Command

COMMANDS = {
    "init": "make a vault",
    "add": "store a long-term access key",
    "import": "store the keys that other tools and files have",
    "list": "show profiles, stored keys and cached sessions",
    "exec": "run a command with credentials",
    "export": "print credentials",
    "serve": "serve credentials to other programs",
    "login": "sign in to the AWS console",
    "sso": "sign in to Identity Center, show accounts and roles, write profiles for them",
    "signin": "sign in with a browser for the credentials of a profile",
    "rotate": "replace stored keys by new ones",
    "remove": "delete a stored key and the sessions made from it",
    "rename": "give a stored key another name",
    "copy": "copy a stored key to another name or vault",
    "migrate": "move the whole vault to another backend or folder",
    "verify": "check that every item opens, and with --online that AWS accepts every key",
    "doctor": "show which vault and files are used, and find what is wrong with them",
    "clear": "delete cached sessions, end console logins",
    "unlock": "unlock the vault for some hours",
    "lock": "forget the cached keys of the vault",
    "log": "print which credentials were issued",
    "status": "show which keys are cached, and until when",
    "agent": "cache keys in a process instead of the kernel",
    "recipients": "show and change who can open the vault; accept a changed vault",
    "slot": "show, add and remove the keyslots of a file vault",
    "passphrase": "change the passphrase of a file vault",
    "rekey": "give a file vault a new master key and re-encrypt every item",
    "git": "run git in the vault's own repository",
    "completion": "print the script that completes command lines in a shell",
    "help": "show the help of a command",
    "version": "show the version",
}
KEEPS_ANSWERS = frozenset(
    {
        *("agent", "completion", "doctor", "exec", "export", "help", "list", "log", "login"),
        *("serve", "status", "verify", "version"),
    }
)
"""The commands after which cached answers may still be served; every other one ends them all."""
ALIASES = {"ls": "list", "rm": "remove"}


def command_at(argv: Sequence[str], index: int) -> str:
    """Return the name of the command that a word names. Raises UsageError if it names none."""
    name = ALIASES.get(argv[index], argv[index])
    if name not in COMMANDS:
        from filevault.cli.unknown import unknown_command

        raise unknown_command(
            argv, index, [*COMMANDS, *ALIASES], lambda each: parser_of(each).options()
        )
    return name


def parser_of(name: str) -> Parser:
    """Return the parser of a command."""
    module = module_of(ALIASES.get(name, name))
    parser = Parser(f"filevault {ALIASES.get(name, name)}", module.DESCRIPTION)
    module.configure(parser)
    add_global_options(parser)
    return parser


def module_of(name: str) -> Command:
    """Import the module of a command and return it."""
    module: Command = __import__(f"filevault.cli.commands.{name}", fromlist=["run"])
    return module


def usage() -> str:
    """Return the text of `filevault --help`."""
    width = max(map(len, COMMANDS)) + 2
    commands = "".join(f"  {name:{width}}{text}\n" for name, text in COMMANDS.items())
    return (
        "usage: filevault [GLOBAL OPTIONS] COMMAND [OPTIONS] [PROFILE] [-- CMD...]\n\n"
        "The AWS credential vault for machines without a desktop.\n\n"
        f"commands:\n{commands}\n"
        "To begin: filevault init, filevault add work, filevault exec work -- aws s3 ls\n"
        "filevault COMMAND --help lists the options of a command and the global options.\n"
        "filevault --version prints the version.\n"
    )
