"""A machine on which the hot lane is tried, in this process and in others."""

from __future__ import annotations

import contextlib
import io
import os
import posix
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

import pytest

from filevault.cli import main
from filevault.keycache import kernel
from filevault.keycache.protocol import peer
from filevault.lane import answer, serve
from filevault.lane.calls import Calls
from tests.fakes import FakeAws
from tests.launch import launcher
from tests.worlds.machine import Machine

EXEC = ("exec", "admin", "--", "/usr/bin/env", "-0")
EXPORT = ("export", "admin", "--format", "json")
TICK = 0.025  # seconds until a file that was changed is a witness again


class Child(NamedTuple):
    """What a run would have become, or printed."""

    path: str
    argv: tuple[str, ...]
    env: tuple[tuple[bytes, bytes], ...]
    printed: bytes = b""


class _Became(BaseException):
    """Raised where the process would be replaced; no handler of the program catches it."""

    def __init__(self, child: Child) -> None:
        super().__init__()
        self.child = child


class HotLane:
    """Runs with the lane. `run` is a whole run in this process, `ask` the lane alone.

    The names of its keys in the kernel keyring are its own: other tests of the same user forget
    and cache answers at the same time. With no `place`, each run opens the vault with a key file.
    """

    def __init__(
        self, home: Path, aws: FakeAws, patch: pytest.MonkeyPatch, place: str = "kernel"
    ) -> None:
        self.machine = machine = Machine(home)
        machine.names = f"filevault-test-{secrets.token_hex(8)}:"
        machine.lane = True
        machine.places = place
        if place == "agent":
            root = home.parent / "root"
            self.runtime = root / f"run/user/{os.geteuid()}"
            self.runtime.mkdir(parents=True)
            (root / "tmp").mkdir()
            machine.root = str(root)
            machine.env["XDG_RUNTIME_DIR"] = str(self.runtime)
        patch.setattr(kernel, "_NAMES", machine.names)
        patch.setattr(serve, "_NAMES", machine.names.encode())
        key_file = machine.home / "key"
        machine.ok("init", "--new-key-file", str(key_file), "--no-passphrase")
        self.opens: dict[str, str | None] = {"FILEVAULT_KEY_FILE": str(key_file)}
        user = aws.add_user("jonsmith")
        role = aws.add_role("admin", trusts=[user])
        machine.env["AWS_ENDPOINT_URL"] = aws.url
        machine.ok(
            *("add", "work", "--stdin", "--no-config"),
            stdin=f"{user.access_key_id}\n{user.secret_access_key}\n",
            env=self.opens,
        )
        dotfiles = machine.home / "dotfiles"
        dotfiles.mkdir()
        (dotfiles / "config").write_text(
            "[profile work]\nregion=eu-west-1\n"
            f"[profile admin]\nregion=eu-west-1\nsource_profile=work\nrole_arn={role.arn}\n"
        )
        (machine.home / ".aws").mkdir()
        machine.config.symlink_to("../dotfiles/config")
        self.obtain()
        self.unlock()

    def obtain(self, *options: str) -> None:
        """Obtain sessions that are cached."""
        for profile in ("admin", "work"):
            self.machine.ok("export", profile, *options, env=self.opens)

    def unlock(self) -> None:
        """Unlock the vault, if there is a key store."""
        if self.machine.places:
            self.machine.ok("unlock", env=self.opens)

    def close(self) -> None:
        """Leave nothing in the kernel keyring, and no agent."""
        self._use_names()
        kernel.KernelKeyring().forget(None)
        if self.machine.places == "agent":
            os.kill(self.agent, signal.SIGKILL)

    def _use_names(self) -> None:
        setattr(kernel, "_NAMES", self.machine.names)  # noqa: B010 - put back by the fixture
        setattr(serve, "_NAMES", self.machine.names.encode())  # noqa: B010

    @property
    def agent(self) -> int:
        """The process id of the agent."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.runtime / "filevault/agent.sock"))
            return peer(connection)[0]

    @property
    def answers(self) -> list[Path]:
        """The answer files."""
        folder = self.machine.state / answer.FOLDER
        return sorted(folder.iterdir()) if folder.exists() else []

    @property
    def newest(self) -> Path:
        """The answer file that was written last."""
        return max(self.answers, key=lambda path: path.stat().st_mtime_ns)

    @property
    def witnesses(self) -> list[str]:
        """The lines of witnesses of the newest answer file."""
        head = self.newest.read_bytes().partition(b"\n\n")[0].decode()
        return head.split("\n")[5:]

    def environ(self, env: dict[str, str | None] | None = None) -> dict[bytes, bytes]:
        """Return the environment of a run, as the lane takes it."""
        opens = {} if self.machine.places else self.opens
        given = self.machine.environment({"LAUNCH": None, **opens, **(env or {})})
        return {os.fsencode(name): os.fsencode(value) for name, value in given.items()}

    def ask(
        self,
        words: Sequence[str] = EXEC,
        env: dict[str, str | None] | None = None,
        *,
        wall: float = 0,
        boot: float = 0,
    ) -> Child | str:
        """Return what the lane serves, or why it does not; the clocks may be off by seconds."""
        with self._instead_of_becoming() as printed:
            try:
                tried = serve.attempt(
                    list(words),
                    self.environ(env),
                    clock=lambda: time.time() + wall,
                    boottime=lambda: time.clock_gettime(time.CLOCK_BOOTTIME) + boot,
                    stores=tuple(self.machine.places.split()),
                    root=self.machine.root,
                )
            except _Became as became:
                return became.child._replace(printed=printed())
        return tried.reason

    def run(
        self,
        words: Sequence[str] = EXEC,
        env: dict[str, str | None] | None = None,
        *,
        lane: bool = True,
    ) -> Child:
        """Run filevault; on a miss the normal path goes on, and may cache the answer."""
        environ = self.environ(env)
        before = dict(os.environ)
        out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
        with self._instead_of_becoming() as printed:
            os.environ.clear()
            os.environ.update({os.fsdecode(name): os.fsdecode(environ[name]) for name in environ})
            orders = {"places": self.machine.places, "root": self.machine.root}
            try:
                chosen = launcher.runtime(orders)
                tried = None
                if lane:
                    tried = serve.attempt(
                        list(words),
                        posix.environ,
                        stores=chosen.key_stores,
                        root=self.machine.root,
                    )
                with contextlib.redirect_stdout(out):
                    status = main(words, chosen, tried)
                    out.flush()
                buffer = out.buffer
                assert isinstance(buffer, io.BytesIO)
                return Child(f"exit {status}", (), (), buffer.getvalue())
            except _Became as became:
                return became.child._replace(printed=printed())
            finally:
                os.environ.clear()
                os.environ.update(before)

    def cached(
        self, words: Sequence[str] = EXEC, env: dict[str, str | None] | None = None
    ) -> Child:
        """Run until the answer is cached; return what the normal path gave."""
        for _ in range(20):
            child = self.run(words, env)
            if isinstance(self.ask(words, env), Child):
                return child
            time.sleep(TICK)
        raise AssertionError(f"it is not cached: {self.ask(words, env)}")

    @contextlib.contextmanager
    def _instead_of_becoming(self) -> Iterator[Callable[[], bytes]]:
        """Raise `_Became` in place of a replaced or ended process."""
        texts: list[bytes] = []
        write = posix.write

        def become(path: bytes | str, argv: list[str], env: Mapping[str, str]) -> NoReturn:
            pairs = tuple((os.fsencode(name), os.fsencode(value)) for name, value in env.items())
            raise _Became(Child(os.fsdecode(path), tuple(argv), pairs))

        def end(_status: int) -> NoReturn:
            raise _Became(Child("exit 0", (), ()))

        def keep(fd: int, data: bytes) -> int:
            if fd != 1:
                return write(fd, data)
            texts.append(bytes(data))
            return len(data)

        self._use_names()  # those of another machine may be in use
        with pytest.MonkeyPatch.context() as patch:
            for owner in (posix, os):
                patch.setattr(owner, "execve", become)
            patch.setattr(posix, "_exit", end)
            patch.setattr(posix, "write", keep)
            patch.setattr(posix, "get_blocking", lambda _fd: True)
            patch.setattr(Calls, "harden", lambda _self: None)  # this process lives on
            yield lambda: b"".join(texts)

    def picture(self) -> dict[Path, tuple[int, int]]:
        """Return when each file of the home was written and changed."""
        every = self.machine.home.rglob("*")
        return {path: (path.lstat().st_mtime_ns, path.lstat().st_ctime_ns) for path in every}

    def watched(self, module: str, name: str) -> tuple[str, ...]:
        """Return `whole` with a function of the lane that first prints two numbers.

        They are whether the process can be traced (prctl(2)), and its limit for core files.
        """
        watch = (
            f"from filevault.lane import {module}\n"
            f"watched = {module}.{name}\n"
            "def look(*args):\n"
            "    import ctypes, resource\n"
            "    print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))\n"
            "    print(resource.getrlimit(resource.RLIMIT_CORE)[0], flush=True)\n"
            "    return watched(*args)\n"
            f"{module}.{name} = look\n"
        )
        *start, script = self.whole()
        return (
            *start,
            script.replace("from filevault.__main__", f"{watch}from filevault.__main__"),
        )

    def whole(self, *words: str, lean: bool = False) -> tuple[str, ...]:
        """Return the argv of a whole run with the lane, in a new interpreter.

        With `lean` nothing else is imported, and the normal path finds no key.
        """
        normal = (
            f"import filevault.keycache.kernel as kernel\nkernel._NAMES = {self.machine.names!r}\n"
        )
        script = (
            f"{'' if lean else normal}"
            "import filevault.lane.serve as serve\n"
            f"serve._NAMES = {self.machine.names.encode()!r}\n"
            "from filevault.__main__ import entry\n"
            "entry()\n"
        )
        return (sys.executable, "-P", "-c", script, *words)
