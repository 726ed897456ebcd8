"""Options, variables and commands that only AWS Vault has, with their replacements."""

from __future__ import annotations

_DESKTOP = (
    "filevault uses no desktop keyring and no password manager; --backend file, pass or age "
    "chooses where keys are kept"
)
_STORE = (
    "filevault import --from aws-vault DIR reads AWS Vault's file store; --vault DIR names the "
    "folder of a filevault vault"
)
_PROGRAM = "filevault runs gpg and age itself, so neither pass nor passage is needed"
_SERVER = "filevault serve, or exec --ec2-server, serves credentials; neither needs a proxy or root"

# By the beginning of the name: `--op-` and `AWS_VAULT_OP_` have many.
_OPTIONS = {
    "--keychain": _DESKTOP,
    "--secret-service-collection": _DESKTOP,
    "--biometrics": _DESKTOP,
    "--op-": _DESKTOP,
    "--proton-pass-": _DESKTOP,
    "--file-dir": _STORE,
    "--pass-cmd": _PROGRAM,
    "--assume-role-ttl": "--duration, or AWS_ASSUME_ROLE_TTL",
    "--parallel-safe": "leave it out: parallel runs always share one sign-in and one session",
    "--session-ttl": "AWS_SESSION_TOKEN_TTL",
}
_VARIABLES = {
    "AWS_VAULT_KEYCHAIN_NAME": _DESKTOP,
    "AWS_VAULT_SECRET_SERVICE_COLLECTION_NAME": _DESKTOP,
    "AWS_VAULT_BIOMETRICS": _DESKTOP,
    "AWS_VAULT_OP_": _DESKTOP,
    "AWS_VAULT_PROTON_PASS_": _DESKTOP,
    "AWS_VAULT_FILE_DIR": _STORE.replace("--vault DIR", "FILEVAULT_DIR"),
    "AWS_VAULT_PASS_CMD": _PROGRAM,
}
_COMMANDS = {"server": _SERVER, "proxy": _SERVER}


def option(word: str) -> str | None:
    """Return the replacement of an option of AWS Vault, None for any other option."""
    return _find(word.partition("=")[0].replace("--no-", "--", 1), _OPTIONS)


def variable(name: str) -> str | None:
    """Return the replacement of a variable of AWS Vault, None for any other variable."""
    return _find(name, _VARIABLES)


def command(word: str) -> str | None:
    """Return the replacement of a command of AWS Vault, None for any other command."""
    return _COMMANDS.get(word)


def _find(name: str, table: dict[str, str]) -> str | None:
    for key, text in table.items():
        if name == key or (key[-1] in "-_" and name.startswith(key)):
            return text
    return None
