"""The agent: what it holds and for how long, and what whoever attacks it gets."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from filevault.errors import BackendError, StorageError
from filevault.keycache.agent import listen
from filevault.keycache.agent_folders import agent_folders
from filevault.keycache.agent_keys import AgentKeys
from filevault.keycache.cache import JOB_VARIABLE, KeyCache, open_cache
from filevault.keycache.cached_key import ANSWER_TYPES, MAX_KEY_SIZE, SESSION, VAULT
from filevault.keycache.client import AgentClient
from filevault.keycache.protocol import LINE, Request
from filevault.system.times import boottime
from tests.conditions.other_user import NOBODY, as_user, become, fork, needs_root
from tests.conditions.work_limits import within
from tests.worlds.agent import AgentProcess, short_folder

STATE = "ab" * 16
OTHER = "cd" * 16
MARK = "0123"
KEY = bytes(range(32))


@pytest.fixture
def socket_folder() -> Iterator[Path]:
    with short_folder() as made:
        yield made / "filevault"


@pytest.fixture
def agent(socket_folder: Path) -> Iterator[AgentProcess]:
    with AgentProcess(socket_folder) as running:
        yield running


def cache(*folders: Path) -> KeyCache:
    return KeyCache([AgentClient([str(folder) for folder in folders])], boottime)


def test_a_key_comes_back_as_it_was_put(agent: AgentProcess, socket_folder: Path) -> None:
    keys = cache(socket_folder)
    assert keys.get(STATE, SESSION, MARK) is None
    assert keys.put(STATE, SESSION, KEY, MARK, 60) == "agent"
    assert keys.put(STATE, VAULT, b"v" * MAX_KEY_SIZE, MARK, 60) == "agent"
    assert keys.get(STATE, SESSION, MARK) == KEY
    assert keys.get(STATE, VAULT, MARK) == b"v" * MAX_KEY_SIZE
    assert keys.get(OTHER, SESSION, MARK) is None
    assert keys.get(STATE, SESSION, "4567") is None  # it belongs to something else
    kinds = {status.key_type: status.seconds for status in keys.entries(STATE)}
    assert set(kinds) == {SESSION, VAULT}
    assert all(0 < seconds <= 60 for seconds in kinds.values())


def test_a_key_that_is_too_long_is_not_held(agent: AgentProcess, socket_folder: Path) -> None:
    assert cache(socket_folder).put(STATE, VAULT, b"v" * (MAX_KEY_SIZE + 1), MARK, 60) is None


def test_locking_forgets_one_vault_or_all(agent: AgentProcess, socket_folder: Path) -> None:
    keys = cache(socket_folder)
    for state in (STATE, OTHER):
        keys.put(state, SESSION, KEY, MARK, 60)
        keys.put(state, VAULT, KEY, MARK, 60)
    assert keys.forget(STATE) == 2
    assert keys.entries(STATE) == []
    assert keys.get(OTHER, SESSION, MARK) == KEY
    assert keys.forget() == 2
    assert keys.entries(OTHER) == []


def test_a_key_is_gone_at_its_deadline_which_nothing_moves(
    socket_folder: Path, tmp_path: Path
) -> None:
    clock = tmp_path / "clock"
    clock.write_text("0")
    with AgentProcess(socket_folder, clock):
        keys = cache(socket_folder)
        keys.put(STATE, SESSION, KEY, MARK, 3600)
        clock.write_text("3590")
        assert keys.get(STATE, SESSION, MARK) == KEY  # being used does not make it live longer
        clock.write_text("3601")
        assert keys.get(STATE, SESSION, MARK) is None
        clock.write_text("0")
        assert keys.get(STATE, SESSION, MARK) is None  # it was forgotten, not only kept back


def test_sigusr1_makes_it_forget_and_go_on(agent: AgentProcess, socket_folder: Path) -> None:
    keys = cache(socket_folder)
    keys.put(STATE, SESSION, KEY, MARK, 60)
    agent.process.send_signal(signal.SIGUSR1)
    wait_for(lambda: keys.get(STATE, SESSION, MARK) is None)
    assert agent.process.poll() is None
    assert keys.put(STATE, SESSION, KEY, MARK, 60) == "agent"


def wait_for(condition: object) -> None:
    assert callable(condition)
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_it_ends_cleanly_and_takes_its_socket_away(
    agent: AgentProcess, socket_folder: Path
) -> None:
    assert agent.socket.exists()
    assert agent.stop() == 0
    assert not agent.socket.exists()
    assert cache(socket_folder).put(STATE, SESSION, KEY, MARK, 60) is None


def test_folder_socket_and_lock_are_private(agent: AgentProcess, socket_folder: Path) -> None:
    assert stat.S_IMODE(socket_folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(agent.socket.stat().st_mode) == 0o600
    assert stat.S_IMODE((socket_folder / "agent.lock").stat().st_mode) == 0o600


def test_there_is_one_agent_in_a_folder(agent: AgentProcess, socket_folder: Path) -> None:
    keys = cache(socket_folder)
    keys.put(STATE, SESSION, KEY, MARK, 60)
    second = AgentProcess(socket_folder)
    assert second.said == "taken\n"
    second.process.communicate()
    assert keys.get(STATE, SESSION, MARK) == KEY


def test_what_a_killed_agent_left_is_no_obstacle(socket_folder: Path) -> None:
    keys = cache(socket_folder)
    with AgentProcess(socket_folder) as killed:
        keys.put(STATE, SESSION, KEY, MARK, 60)
        killed.process.kill()
        killed.process.wait()
        assert killed.socket.exists()
        assert keys.get(STATE, SESSION, MARK) is None
        assert keys.forget() == 0  # dead, it holds nothing
    with AgentProcess(socket_folder):
        assert keys.get(STATE, SESSION, MARK) is None
        assert keys.put(STATE, SESSION, KEY, MARK, 60) == "agent"


def test_it_holds_no_standard_descriptor_and_no_folder(agent: AgentProcess) -> None:
    fds = Path(f"/proc/{agent.process.pid}/fd")
    wait_for(lambda: {os.readlink(fds / str(fd)) for fd in (0, 1, 2)} == {os.devnull})
    assert os.readlink(f"/proc/{agent.process.pid}/cwd") == "/"


# Attacks


def test_other_requests_are_answered_by_hanging_up(
    agent: AgentProcess, socket_folder: Path
) -> None:
    keys = cache(socket_folder)
    keys.put(STATE, SESSION, KEY, MARK, 60)
    line = '{"op":"%s","state":"%s","kind":"%s","key":"%s","mark":"","deadline":%s}\n'
    for garbage in (
        b"\n",
        b"\x00\xff\xfe\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"[" * 4000 + b"\n",
        b"{" * 4095 + b"\n",
        b"x" * (LINE + 1),
        b"x" * 1_000_000,
        (line % ("get", STATE, "session", "", "0"))[:-2].encode() + b"\n",
        (line % ("get", STATE + "0", "session", "", "0")).encode(),
        (line % ("get", "../../etc/passwd", "session", "", "0")).encode(),
        (line % ("get", STATE, "everything", "", "0")).encode(),
        (line % ("get", "", "session", "", "0")).encode(),
        (line % ("steal", STATE, "session", "", "0")).encode(),
        (line % ("put", STATE, "session", "", "0")).encode(),
        (line % ("put", STATE, "session", "not base64", "0")).encode(),
        (line % ("put", STATE, "session", "AAAA", "-1")).encode(),
        (line % ("put", STATE, "session", "AAAA", "1e300")).encode(),
        (line % ("put", STATE, "session", "AAAA", "true")).encode(),
        (line % ("get", STATE, "session", "", "0")).encode() * 2,
        b'{"op":"lock","op":"lock"}\n',
    ):
        with socket.socket(socket.AF_UNIX) as raw:
            raw.settimeout(10)
            raw.connect(str(agent.socket))
            with contextlib.suppress(ConnectionError):
                raw.sendall(garbage)
            with contextlib.suppress(ConnectionError):
                assert raw.recv(LINE) == b"", garbage
    assert agent.process.poll() is None
    assert keys.get(STATE, SESSION, MARK) == KEY


def test_whoever_says_nothing_is_hung_up_on(agent: AgentProcess, socket_folder: Path) -> None:
    keys = cache(socket_folder)
    keys.put(STATE, SESSION, KEY, MARK, 60)
    slow = [socket.socket(socket.AF_UNIX) for _ in range(20)]
    for each in slow:
        each.connect(str(agent.socket))
        each.send(b"{")
    assert keys.get(STATE, SESSION, MARK) == KEY  # nobody waits for them
    for each in slow:
        each.settimeout(10)
        with contextlib.suppress(ConnectionError):
            assert each.recv(1) == b""
        each.close()


def test_a_thousand_silent_clients_keep_no_one_out(
    agent: AgentProcess, socket_folder: Path
) -> None:
    keys = cache(socket_folder)
    keys.put(STATE, SESSION, KEY, MARK, 60)
    with contextlib.ExitStack() as opened:
        for _ in range(1000):
            each = opened.enter_context(socket.socket(socket.AF_UNIX))
            each.settimeout(10)
            each.connect(str(agent.socket))
        assert keys.get(STATE, SESSION, MARK) == KEY
    assert agent.process.poll() is None


def test_a_thousand_clients_at_once_are_all_answered(
    agent: AgentProcess, socket_folder: Path
) -> None:
    cache(socket_folder).put(STATE, SESSION, KEY, MARK, 60)
    line = b'{"op":"get","state":"%b","kind":"session","key":"","mark":"","deadline":0}\n'
    with contextlib.ExitStack() as opened:
        clients = [opened.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(1000)]
        answers: list[bytes] = []

        def ask(some: list[socket.socket]) -> None:
            for each in some:
                each.settimeout(20)
                each.connect(str(agent.socket))
                each.sendall(line % STATE.encode())
            answers.extend(each.recv(LINE) for each in some)

        threads = [
            threading.Thread(target=ask, args=(clients[start : start + 50],))
            for start in range(0, 1000, 50)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(answers) == 1000
    assert len(set(answers)) == 1
    assert b'"ok":1' in answers[0]


@pytest.mark.timed
def test_an_agent_that_hangs_costs_less_than_a_second(
    agent: AgentProcess, socket_folder: Path
) -> None:
    keys = cache(socket_folder)
    keys.put(STATE, SESSION, KEY, MARK, 60)
    agent.process.send_signal(signal.SIGSTOP)
    try:
        with within(1):  # the promise; it gives up after 0.7 s
            assert keys.get(STATE, SESSION, MARK) is None
        with pytest.raises(BackendError, match="does not answer") as error:
            keys.forget()
        assert str(agent.process.pid) in (error.value.hint or "")
    finally:
        agent.process.send_signal(signal.SIGCONT)
    # What it was told meanwhile it does then: it was told to forget.
    wait_for(lambda: keys.entries(STATE) == [])


def fill_queue(agent: AgentProcess, opened: contextlib.ExitStack) -> None:
    for _ in range(10_000):
        each = opened.enter_context(socket.socket(socket.AF_UNIX))
        each.setblocking(False)
        try:
            each.connect(str(agent.socket))
        except BlockingIOError:
            return
    raise AssertionError("the queue has no end")


@pytest.mark.timed
def test_an_agent_whose_queue_is_full_costs_less_than_a_second(
    agent: AgentProcess, socket_folder: Path
) -> None:
    agent.process.send_signal(signal.SIGSTOP)
    try:
        with contextlib.ExitStack() as opened:
            fill_queue(agent, opened)
            with within(1):
                assert cache(socket_folder).get(STATE, SESSION, MARK) is None
    finally:
        agent.process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("answer", [b"", b"x" * 10_000, b"\n", b'{"ok":1}\n', b'{"ok":2,"key":""'])
def test_nonsense_in_the_agents_place_is_no_key(socket_folder: Path, answer: bytes) -> None:
    socket_folder.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(socket_folder / "agent.sock"))
        server.listen()

        def serve() -> None:
            connection, _address = server.accept()
            with connection, contextlib.suppress(ConnectionError):
                connection.recv(LINE)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        assert cache(socket_folder).get(STATE, SESSION, MARK) is None
        thread.join()


def test_a_link_in_the_sockets_place_leads_nowhere(
    agent: AgentProcess, socket_folder: Path
) -> None:
    keys = cache(socket_folder)
    keys.put(STATE, SESSION, KEY, MARK, 60)
    real = socket_folder / "real.sock"
    agent.socket.rename(real)
    agent.socket.symlink_to(real)
    assert keys.get(STATE, SESSION, MARK) is None
    assert keys.put(STATE, VAULT, KEY, MARK, 60) is None
    with pytest.raises(BackendError, match="not the socket"):  # the agent holds the key still
        keys.forget()


def test_a_new_agent_replaces_a_link_and_not_what_it_leads_to(socket_folder: Path) -> None:
    socket_folder.mkdir(mode=0o700)
    target = socket_folder.parent / "target"
    target.write_text("precious")
    (socket_folder / "agent.sock").symlink_to(target)
    with AgentProcess(socket_folder) as running:
        assert cache(socket_folder).put(STATE, SESSION, KEY, MARK, 60) == "agent"
        assert stat.S_ISSOCK(running.socket.lstat().st_mode)
    assert target.read_text() == "precious"


def test_a_link_in_the_folders_place_is_refused_by_both(socket_folder: Path) -> None:
    real = socket_folder.parent / "real"
    with AgentProcess(real):
        socket_folder.symlink_to(real)
        assert cache(real).put(STATE, SESSION, KEY, MARK, 60) == "agent"
        assert cache(socket_folder).get(STATE, SESSION, MARK) is None
        with pytest.raises(StorageError, match="a link"):
            listen(str(socket_folder), boottime)


def test_a_folder_that_others_can_open_is_refused_by_both(
    agent: AgentProcess, socket_folder: Path
) -> None:
    keys = cache(socket_folder)
    keys.put(STATE, SESSION, KEY, MARK, 60)
    socket_folder.chmod(0o711)
    assert keys.get(STATE, SESSION, MARK) is None
    with pytest.raises(BackendError, match="others can open it"):
        keys.forget()
    with pytest.raises(StorageError, match="others can open it"):
        listen(str(socket_folder), boottime)


@needs_root
def test_a_folder_that_another_user_made_is_refused_by_both(socket_folder: Path) -> None:
    socket_folder.mkdir(mode=0o700)
    os.chown(socket_folder, NOBODY, NOBODY)
    with pytest.raises(StorageError, match=f"belongs to user {NOBODY}"):
        listen(str(socket_folder), boottime)
    assert cache(socket_folder).put(STATE, SESSION, KEY, MARK, 60) is None
    assert cache(socket_folder).forget() == 0  # there is none


def plant(folder: Path, what: str, agents: Path) -> None:
    """Put something into the place of an agent's folder."""
    if what == "link":
        folder.symlink_to(agents)
        return
    if what == "file":
        folder.write_text("")
        return
    folder.mkdir(mode=0o700 if what == "closed folder" else 0o755)
    if what == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(folder / "agent.sock"))
    elif what == "link to a socket":
        (folder / "agent.sock").symlink_to(agents / "agent.sock")
    else:
        (folder / "agent.sock").write_text("")


@needs_root
@pytest.mark.parametrize(
    "what", ["folder", "closed folder", "socket", "link to a socket", "link", "file"]
)
def test_what_another_user_puts_in_an_agents_place_keeps_nobody_from_locking(
    socket_folder: Path, what: str
) -> None:
    """Everybody can write to /tmp; the user is nobody here, and root the other one."""
    socket_folder.parent.chmod(0o755)
    mine = socket_folder.parent / "mine"
    mine.mkdir(mode=0o700)
    os.chown(mine, NOBODY, NOBODY)
    plant(socket_folder, what, mine)

    def action() -> object:
        agent = listen(str(mine), boottime)
        assert agent is not None
        thread = threading.Thread(target=agent.serve, daemon=True)
        thread.start()
        keys = cache(socket_folder, mine)
        assert keys.put(STATE, SESSION, KEY, MARK, 60) == "agent"
        return keys.forget(STATE), keys.forget()

    assert as_user(NOBODY, action) == str((1, 0))


@needs_root
def test_a_folder_that_may_not_be_looked_into_is_called_that(socket_folder: Path) -> None:
    socket_folder.parent.chmod(0o700)
    for action in (lambda: listen(str(socket_folder), boottime), cache(socket_folder).forget):
        said = as_user(NOBODY, action)
        assert "permission denied" in said
        assert "link" not in said.splitlines()[-1]


@needs_root
def test_locking_fails_where_the_folder_of_an_agent_went_to_another_user(
    agent: AgentProcess, socket_folder: Path
) -> None:
    keys = cache(socket_folder)
    keys.put(STATE, SESSION, KEY, MARK, 60)
    os.chown(socket_folder, NOBODY, NOBODY)
    with pytest.raises(BackendError, match=f"belongs to user {NOBODY}"):
        keys.forget()


def test_locking_goes_on_behind_what_fails_and_tells_all_of_it(
    agent: AgentProcess, socket_folder: Path
) -> None:
    with short_folder() as first, short_folder() as last:
        for each in (first, last):
            (each / "agent.sock").write_text("no socket")
        keys = cache(first, socket_folder, last)
        assert keys.put(STATE, SESSION, KEY, MARK, 60) == "agent"
        with pytest.raises(BackendError) as error:
            keys.forget()
        for each in (first, last):
            assert str(each) in error.value.message
            assert str(each) in (error.value.hint or "")
    assert cache(socket_folder).entries(STATE) == []


def test_nonsense_in_an_agents_place_does_not_keep_another_from_locking(
    agent: AgentProcess, socket_folder: Path
) -> None:
    with short_folder() as first, socket.socket(socket.AF_UNIX) as server:
        server.bind(str(first / "agent.sock"))
        server.listen()

        def serve() -> None:
            connection, _address = server.accept()
            with connection:
                connection.recv(LINE)
                connection.sendall(b'{"ok":1}\n')

        thread = threading.Thread(target=serve)
        cache(socket_folder).put(STATE, SESSION, KEY, MARK, 60)
        thread.start()
        with pytest.raises(BackendError, match="answer"):
            cache(first, socket_folder).forget()
        thread.join()
    assert cache(socket_folder).entries(STATE) == []


@pytest.mark.parametrize("change", ["socket", "mode", pytest.param("owner", marks=needs_root)])
def test_the_agent_ends_when_it_can_no_longer_be_asked(
    socket_folder: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """Nobody could tell it to forget any more."""
    monkeypatch.setattr("filevault.keycache.agent._CHECK_INTERVAL", 0.05)
    made = listen(str(socket_folder), boottime)
    assert made is not None
    if change == "socket":
        (socket_folder / "agent.sock").unlink()
    elif change == "mode":
        socket_folder.chmod(0o755)
    else:
        os.chown(socket_folder, NOBODY, NOBODY)
    made.serve()
    made.close()


def test_a_flood_of_connections_keeps_no_signal_waiting(socket_folder: Path) -> None:
    made = listen(str(socket_folder), boottime)
    assert made is not None
    with contextlib.ExitStack() as opened:
        for _ in range(100):
            opened.enter_context(socket.socket(socket.AF_UNIX)).connect(
                str(socket_folder / "agent.sock")
            )
        made._accept()
        assert 0 < len(made._connections) <= 32  # and then its turn is over
    made.close()


@needs_root
@pytest.mark.parametrize("limit", [64 << 10, 0])
def test_what_an_ordinary_user_holds_is_locked_in_memory_as_far_as_allowed(limit: int) -> None:
    """Where nothing may be locked it is held all the same."""

    def action() -> object:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (limit, limit))
        keys = AgentKeys(boottime)
        key = b"v" * MAX_KEY_SIZE
        deadline = int(boottime() * 1000) + 60_000
        for number in range(65):
            request = Request("put", f"{number:032x}", VAULT, key, MARK, deadline)
            assert keys.answer(request).ok == (number < 64)
        found = [keys.answer(Request("get", f"{n:032x}", VAULT)).key == key for n in range(64)]
        status = Path("/proc/self/status").read_text()
        locked = int(status.partition("VmLck:")[2].split()[0])
        assert keys.forget() == 64
        assert keys.answer(Request("put", STATE, VAULT, key, MARK, deadline)).ok
        return all(found), locked << 10

    assert as_user(NOBODY, action) == str((True, limit))


# Where agents are looked for


def test_the_last_resort_is_the_same_folder_whatever_tmpdir_says() -> None:
    found = {
        tuple(agent_folders(env.get))
        for env in ({}, {"TMPDIR": "/var/tmp"}, {"TMPDIR": "/tmp/job-1"}, {"TMPDIR": "nowhere"})
    }
    assert len(found) == 1
    assert found.pop()[-1] == f"/tmp/filevault-{os.geteuid()}"


def test_a_job_asks_its_own_agent_and_locks_every_one(
    agent: AgentProcess, socket_folder: Path
) -> None:
    with short_folder() as runtime, AgentProcess(runtime / "filevault"):
        outside = {"XDG_RUNTIME_DIR": str(runtime)}
        of_user = open_cache(("agent",), outside.get, boottime)
        of_job = open_cache(("agent",), {**outside, JOB_VARIABLE: str(socket_folder)}.get, boottime)
        of_user.put(STATE, VAULT, KEY, MARK, 60)
        assert of_job.get(STATE, VAULT, MARK) is None
        assert of_job.entries(STATE) == []
        of_job.put(STATE, SESSION, KEY, MARK, 60)
        assert of_user.get(STATE, SESSION, MARK) is None
        assert of_job.forget(STATE) == 2
        assert of_user.get(STATE, VAULT, MARK) is None


@pytest.mark.timed
def test_agents_that_hang_cost_a_run_less_than_a_second_altogether(socket_folder: Path) -> None:
    with contextlib.ExitStack() as opened:
        runtime, other = (opened.enter_context(short_folder()) for _ in range(2))
        for each in (runtime, other):
            running = opened.enter_context(AgentProcess(each / "filevault"))
            running.process.send_signal(signal.SIGSTOP)
        env = {"XDG_RUNTIME_DIR": str(runtime), JOB_VARIABLE: str(other / "filevault")}
        for keys in (
            cache(runtime / "filevault", other / "filevault"),
            open_cache(("agent",), env.get, boottime),
        ):
            with within(1):  # the promise; 0.7 s, and a moment for each
                for state in (STATE, OTHER):
                    assert keys.get(state, SESSION, MARK) is None
                    assert keys.put(state, SESSION, KEY, MARK, 60) is None
                    assert keys.entries(state) == []
                with pytest.raises(BackendError, match="does not answer.*does not answer"):
                    keys.forget(STATE)


@needs_root
def test_another_user_can_neither_connect_nor_look_into_it(
    agent: AgentProcess, socket_folder: Path
) -> None:
    cache(socket_folder).put(STATE, SESSION, KEY, MARK, 60)
    socket_folder.parent.chmod(0o711)

    def connect() -> None:
        socket.socket(socket.AF_UNIX).connect(str(agent.socket))

    assert "PermissionError" in as_user(NOBODY, connect)

    def look() -> list[str]:
        seen = []
        for name in ("environ", "mem", "maps", "fd/0"):
            with contextlib.suppress(PermissionError):
                os.close(os.open(f"/proc/{agent.process.pid}/{name}", os.O_RDONLY))
                seen.append(name)
        return seen

    assert as_user(NOBODY, look) == "[]"


@needs_root
def test_another_user_whom_the_folder_lets_in_is_hung_up_on(
    agent: AgentProcess, socket_folder: Path
) -> None:
    """The agent itself looks who connects, whatever the permissions have become."""
    cache(socket_folder).put(STATE, SESSION, KEY, MARK, 60)
    for path, mode in (
        (socket_folder.parent, 0o711),
        (socket_folder, 0o711),
        (agent.socket, 0o666),
    ):
        path.chmod(mode)
    line = f'{{"op":"get","state":"{STATE}","kind":"session","key":"","mark":"","deadline":0}}\n'

    def ask() -> bytes:
        with socket.socket(socket.AF_UNIX) as raw:
            raw.settimeout(10)
            raw.connect(str(agent.socket))
            with contextlib.suppress(ConnectionError):
                raw.sendall(line.encode())
                return raw.recv(LINE)
        return b"hung up"

    assert as_user(NOBODY, ask) in ("b''", "b'hung up'")
    assert '"ok":1' in as_user(0, ask)


@needs_root
def test_an_agent_of_another_user_is_not_talked_to(socket_folder: Path) -> None:
    """The folder is ours, the socket looks like ours, and somebody else listens."""
    socket_folder.parent.chmod(0o711)
    socket_folder.mkdir()
    os.chown(socket_folder, NOBODY, NOBODY)
    path = socket_folder / "agent.sock"
    reading, writing = os.pipe()
    child = fork()
    if child == 0:
        become(NOBODY)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen()
            os.write(writing, b"ready ")
            connection, _address = listener.accept()
            os.write(writing, b"heard " + connection.recv(LINE))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb", buffering=0) as stream:
        assert stream.read(100) == b"ready "
        os.chown(socket_folder, 0, 0)
        socket_folder.chmod(0o700)
        os.chown(path, 0, 0)
        assert cache(socket_folder).put(STATE, SESSION, KEY, MARK, 60) is None
        assert stream.read(100) == b"heard "  # and nothing with it
    os.waitpid(child, 0)


def test_answers_give_way_to_a_key_where_an_agent_has_no_slot_left() -> None:
    keys = AgentKeys(boottime)
    deadline = int((boottime() + 60) * 1000)
    for number in range(64):
        state = f"{number // 8:032x}"
        put = Request("put", state, ANSWER_TYPES[number % 8], KEY, MARK, deadline)
        assert keys.answer(put).ok
    assert not keys.answer(Request("put", OTHER, ANSWER_TYPES[0], KEY, MARK, deadline)).ok
    assert keys.answer(Request("put", OTHER, SESSION, KEY, MARK, deadline)).ok
    assert not keys.answer(Request("get", f"{0:032x}", ANSWER_TYPES[0])).ok
    assert keys.answer(Request("get", OTHER, SESSION)).key == KEY
    assert keys.forget() == 1  # answers are not counted
