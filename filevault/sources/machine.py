"""Credential source: `credential_source`, what the machine or the container itself has."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from filevault.errors import ConfigError
from filevault.sources.source import Source
from filevault.system.digest import sha256_hex
from filevault.system.printable import printable

if TYPE_CHECKING:
    from filevault.config.profile import Profile
    from filevault.sources.source import SourceDependencies

NAMES = {
    "Environment": ("filevault.sources.environment", "EnvironmentKey"),
    "EcsContainer": ("filevault.sources.container", "ContainerCredentials"),
    "Ec2InstanceMetadata": ("filevault.sources.instance", "InstanceCredentials"),
}
"""The values of `credential_source`, in botocore's spelling, to module and class."""


class MachineCredentials(Source):
    """Base of the sources that `credential_source` can name; they are asked for in each run."""

    profile: str

    @classmethod
    def of(cls, profile: Profile) -> Source:
        """Return the source that a profile names. Raises ConfigError for an unknown one."""
        value = profile.credential_source or ""
        found = NAMES.get(value)
        if found is None:
            near = next((name for name in NAMES if name.lower() == value.lower()), None)
            raise ConfigError(
                f"profile {printable(profile.name)!r} has {profile.source_where}, with the value "
                f"{printable(value, 80)!r}, which means nothing",
                hint=f"write {near}" if near else f"choose one of {', '.join(NAMES)}",
            )
        module, name = found
        made: type[MachineCredentials] = getattr(__import__(module, fromlist=[name]), name)
        return made.named_by(profile)

    @classmethod
    def named_by(cls, profile: Profile) -> MachineCredentials:
        """Return the source of this class for a profile."""
        return cls(profile.name)

    @property
    def needs_vault(self) -> bool:
        """False."""
        return False

    @property
    def refused_hint(self) -> str:
        """What to do if AWS does not accept the credentials."""
        return f"check the {self.title}, and the clock of this machine"

    def identity(self, dependencies: SourceDependencies) -> str:
        """Return a hash of what the source is and of its `mark`."""
        parts = (type(self).__name__, *self.mark(dependencies))
        return sha256_hex("\0".join(parts).encode("utf-8", "surrogateescape"))

    @abstractmethod
    def mark(self, dependencies: SourceDependencies) -> tuple[str, ...]:
        """Return what changes if the credentials become those of another; nothing is called."""
