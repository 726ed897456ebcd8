"""Credential source: a program that prints credentials, `credential_process`.

The contract is that of the AWS SDKs and Tools Reference Guide, "Process credential provider".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.errors import ProviderError
from filevault.sources.source import CredentialProvider, Source
from filevault.system.digest import sha256_hex
from filevault.system.printable import printable

if TYPE_CHECKING:
    from filevault.config.profile import Profile
    from filevault.credentials import Credentials
    from filevault.sources.source import SourceDependencies

_PROFILES = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE")

_SETTING = "credential_process"
_TIMEOUT = 120.0  # seconds; it may ask a person


class ProcessOutput(Source):
    """What the `credential_process` of a profile prints."""

    _secret = ("command",)

    profile: str
    command: str

    @classmethod
    def of(cls, profile: Profile) -> ProcessOutput:
        """Return the program of a profile."""
        return cls(profile.name, profile.credential_process or "")

    @property
    def operation(self) -> str:
        """The first part of the session file's name."""
        return "process"

    @property
    def needs_vault(self) -> bool:
        """False."""
        return False

    @property
    def may_be_users(self) -> bool:
        """True: only the output says what credentials these are."""
        return True

    @property
    def refused_hint(self) -> str:
        """What to do if AWS does not accept the credentials."""
        return f"check what {_SETTING} of {printable(self.profile)!r} prints"

    @property
    def reference(self) -> str:
        """`process:` and the name of the profile."""
        return f"process:{self.profile}"

    @property
    def title(self) -> str:
        """The name of the step in the tree of `--explain`."""
        return _SETTING

    @property
    def signer(self) -> str:
        """The name of the credentials in `--explain` where they sign a call."""
        return f"the output of {_SETTING}"

    @property
    def description(self) -> str:
        """The text for the step in `--explain`; the command may contain a secret."""
        return f"{_SETTING} of {printable(self.profile)!r} is run"

    def identity(self, dependencies: SourceDependencies) -> str:  # noqa: ARG002
        """Return a hash of profile and command."""
        text = f"process\0{self.profile}\0{self.command}"
        return sha256_hex(text.encode("utf-8", "surrogateescape"))

    def provider(self, dependencies: SourceDependencies) -> ProcessOutputProvider:
        """Return the provider that runs the program."""
        return ProcessOutputProvider(self, dependencies)


class ProcessOutputProvider(CredentialProvider):
    """Runs the program each time that it is asked: without a shell, split as botocore does.

    The program may use the terminal. Without one, what it prints on stderr is printed.
    """

    __slots__ = ("_dependencies", "_step")

    def __init__(self, step: ProcessOutput, dependencies: SourceDependencies) -> None:
        self._step = step
        self._dependencies = dependencies

    def retrieve(self) -> Credentials:
        """Run the program and return what it printed.

        Raises ProgramError if it is missing or too slow, ProviderError if it fails or prints
        something else, ProfileLoopError if it would run itself.
        """
        from filevault.config.program_chain import chained_environment, profiles_in
        from filevault.sources.outside_credentials import read_credentials
        from filevault.system import programs
        from filevault.system.json_object import parse_object

        settings = self._dependencies.settings()
        environment = chained_environment(
            settings.program_environment(), self._step.profile, _SETTING
        )
        for name in _PROFILES:  # the AWS CLI would run the same program again
            if environment.get(name) in profiles_in(environment):
                del environment[name]
        origin = f"{_SETTING} of profile {printable(self._step.profile)!r}"
        words = programs.split(self._step.command, origin)
        result = programs.run(
            words,
            environment,
            origin=origin,
            timeout=_TIMEOUT,
            terminal=True,
            tell=self._dependencies.tell,
        )
        failed = result.status != 0
        for line in result.complaints[:-1] if failed else result.complaints:
            self._dependencies.say(f"{origin}: {line}")
        if failed:
            reason = f": {result.complaint}" if result.complaint else ""
            raise ProviderError(f"{origin} failed with status {result.status}{reason}")
        output = f"what {origin} printed"
        values = parse_object(result.output)
        if values is None:
            raise ProviderError(
                f"{output} is no JSON object",
                hint="it must print one, and nothing else on stdout",
            )
        version = values.get("Version")
        if type(version) is not int or version != 1:
            raise ProviderError(
                f"{output} has no Version 1, a number",
                hint="the AWS SDKs refuse it as well: correct the program",
            )
        return read_credentials(
            values,
            output,
            self._dependencies.clock(),
            token="SessionToken",  # noqa: S106
        )
