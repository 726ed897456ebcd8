"""ServingState: what the serving process of `serve` gets from the process that it replaces.

It is passed through a pipe, whose descriptor is inherited: never in arguments, environment or a
file, and in memory that is not swapped out.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
from typing import TYPE_CHECKING, Any, Self

from filevault.credentials import Credentials
from filevault.errors import UsageError
from filevault.server.metadata_endpoint import RELIED_ON
from filevault.server.served_credentials import ServedCredentials
from filevault.system.record import Record

if TYPE_CHECKING:
    from filevault.cli.served_profiles import ServedProfile

ARGUMENT = "__state="
"""The beginning of the word of the command line that names the descriptor."""
_LONGEST = 1 << 20  # bytes, what a user may let a pipe contain (pipe(7))
_USUAL = 64 << 10


class ProfileState(Record):
    """A profile that is served, and its credentials if they are there.

    `title` is its name in messages, `path` that of its credentials at the endpoint, `life`,
    `role_life` and `longest` are in seconds, `obtained` in Unix seconds.
    """

    _secret = ("credentials",)

    name: str
    title: str
    path: str
    region: str | None
    life: int
    role_life: int
    longest: float
    credentials: Credentials | None
    account_id: str | None
    obtained: float

    @classmethod
    def of(cls, profile: ServedProfile, served: ServedCredentials) -> Self:
        """Return the state of a profile."""
        from filevault.server.role_paths import profile_path

        plan = profile.plan
        return cls(
            name=plan.profile,
            title=served.name,
            path=profile_path(plan.profile).decode("ascii"),
            region=served.region or plan.region,
            life=profile.life,
            role_life=profile.role_life(),
            longest=profile.longest_window,
            credentials=served.credentials,
            account_id=served.account_id,
            obtained=served.obtained,
        )

    def served(self, *, lazy: bool, ec2: bool) -> ServedCredentials:
        """Return what is served, as it was; see `ServedProfile.served`."""
        found = ServedCredentials(
            self.title,
            self.life,
            on_demand=lazy,
            longest=self.longest,
            least=RELIED_ON if ec2 else 0,
        )
        found.region = self.region
        if self.credentials is not None:
            found.succeed(self.credentials, self.account_id, self.obtained)
        return found


class ServingState(Record):
    """The descriptors, options and profiles of a server.

    `listener` and `renewing` are descriptors, the latter is the connection to the renewing process.
    `adds_address` says that filevault has added the address that it listens at. `token_files` are
    paths, `roles` the patterns of `--allow-role`. `notify` is the socket of the service manager.
    """

    profiles: tuple[ProfileState, ...]
    listener: int
    adds_address: bool
    renewing: int
    renewing_pid: int
    token_files: tuple[str, ...]
    roles: tuple[str, ...]
    ec2: bool
    lazy: bool
    version_1: bool
    any_user: bool
    notify: str | None
    debug: bool

    def word(self) -> str:
        """Write the state to a pipe that a program inherits; return the word that names it.

        Raises UsageError if it does not fit.
        """
        values = self._asdict()
        values["profiles"] = [
            {**each._asdict(), "credentials": each.credentials and each.credentials._asdict()}
            for each in self.profiles
        ]
        data = json.dumps(values).encode("ascii")
        reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            if len(data) > _USUAL:
                fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, len(data))
            is_written = os.write(writing, data) == len(data)
        except OSError:
            is_written = False
        os.close(writing)
        if not is_written:
            os.close(reading)
            raise UsageError(
                f"{len(self.profiles)} profiles are too many for one server",
                hint="start another one for some of them",
            )
        for inherited in (reading, self.listener, self.renewing):
            os.set_inheritable(inherited, True)
        return f"{ARGUMENT}{reading}"

    @classmethod
    def from_word(cls, word: str) -> Self:
        """Return the state that a word names, and close its pipe. Raises UsageError."""
        number = word.removeprefix(ARGUMENT)
        try:
            if not (number.isascii() and number.isdigit()):
                raise ValueError
            if not stat.S_ISFIFO(os.fstat(int(number)).st_mode):
                raise ValueError
            with open(int(number), "rb") as pipe:
                values: dict[str, Any] = json.loads(pipe.read(_LONGEST))
            profiles = tuple(_profile(each) for each in values.pop("profiles"))
            found = cls(
                profiles=profiles,
                token_files=tuple(values.pop("token_files")),
                roles=tuple(values.pop("roles")),
                **values,
            )
            for inherited in (found.listener, found.renewing):
                os.set_inheritable(inherited, False)
        except (
            OSError,
            OverflowError,
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
        ) as error:
            raise UsageError(
                "serve was started as no other program starts it", hint="filevault serve PROFILE"
            ) from error
        return found


def _profile(values: dict[str, Any]) -> ProfileState:
    credentials = values.pop("credentials")
    return ProfileState(credentials=credentials and Credentials(**credentials), **values)
