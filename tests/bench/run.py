"""`make bench`: whole processes of this build and of an earlier one, beside `python -c pass`.

Instructions are counted by callgrind, times are medians; both are ratios to `python -c pass` in
the same environment. Nothing here fails a build: the table says which targets are met. Rounds are
interleaved, so that a noisy minute hits every row alike.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from tests.bench import endpoint  # noqa: E402 - after the path is set
from tests.bench.builds import Build, earlier_build, this_build  # noqa: E402
from tests.bench.vaults import Bench  # noqa: E402
from tests.fakes import FakeAws  # noqa: E402
from tests.launch.instructions import instructions  # noqa: E402

BIN = Path(sys.executable).parent
BECOME = str(Path(__file__).with_name("become.py"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "15"))
EARLIER = "a122f73"  # the last commit before the hot lane
ASKED = 50  # times in a row through credential_process
PASS = ("-c", "pass")
AWS_CLI_2 = os.environ.get("BENCH_AWS_CLI_2", "")
"""The AWS CLI 2, which is not among the development tools."""

SSO = ("export", "sso", "--format", "json")
LOGIN_SESSION = ("export", "console", "--format", "json")
EXEC = ("exec", "p0", "--", "/bin/true")
EXPORT = ("export", "p0", "--format", "json")


class Row(NamedTuple):
    """A run of filevault; `most` and `aim` are ratios to `python -c pass`.

    The earlier build cannot do what is `new`.
    """

    name: str
    words: Sequence[str]
    env: Mapping[str, str]
    most: float | None = None
    aim: float | None = None
    counted: bool = True
    new: bool = False


class Other(NamedTuple):
    """A process of another program, for comparison."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]


def run(argv: Sequence[str], env: Mapping[str, str]) -> float:
    """Run a process that must succeed; return its seconds."""
    began = time.perf_counter()
    process = subprocess.Popen(
        argv,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    process.wait()
    seconds = time.perf_counter() - began
    _, said = process.communicate()
    if process.returncode != 0:
        shown = said.decode(errors="replace")
        raise RuntimeError(f"{list(argv)} ended with status {process.returncode}: {shown}")
    return seconds


def medians(processes: Mapping[str, tuple[Sequence[str], Mapping[str, str]]]) -> dict[str, float]:
    """Return the median seconds of each process, run for the second time in a row.

    The first time warms the caches, and the hot lane keeps the answers of a few commands only.
    """
    times: dict[str, list[float]] = {name: [] for name in processes}
    for _ in range(ROUNDS):
        for name, (argv, env) in processes.items():
            run(argv, env)
            times[name].append(run(argv, env))
    return {name: statistics.median(values) for name, values in times.items()}


def count(build: Build, row: Row) -> int | None:
    """Count the instructions of a run; None without valgrind, or if they are not counted."""
    valgrind = shutil.which("valgrind")
    if valgrind is None or not row.counted:
        return None
    run([build.program, *row.words], row.env)  # so that the hot lane has the answer
    argv = [build.python, BECOME, build.program, *row.words]
    return instructions(valgrind, argv, _bytes(row.env))


def _bytes(env: Mapping[str, str]) -> dict[bytes, bytes]:
    return {os.fsencode(name): os.fsencode(value) for name, value in env.items()}


def rows(
    bench: Bench, builds: Sequence[Build], folder: Path, opened: contextlib.ExitStack
) -> list[Row]:
    """Build the vaults and return what is measured, as long as `opened` is."""
    small = bench.user(folder / "small", profiles=30, items=1, sessions=1)
    large = bench.user(folder / "large", profiles=1000, items=1000, sessions=1)
    console = bench.logged_in(folder / "console")
    huge = bench.user(folder / "huge", profiles=30, items=10_000, sessions=1000)
    keyed = bench.user(folder / "keyed", profiles=30, items=1, sessions=1)
    by_passphrase = bench.user(folder / "passphrase", profiles=30, items=1, sessions=1, key=False)
    corp = bench.signed_in(folder / "corp")
    in_job = bench.user(folder / "job", profiles=30, items=1, sessions=1)
    for build in builds:  # another build may name a session otherwise
        for env in (small, large, keyed, in_job, by_passphrase):
            run([build.program, *EXPORT], env)
    unlocked, unlocked_large = bench.unlocked(small), bench.unlocked(large)
    in_agent = opened.enter_context(bench.in_job(in_job))
    return [
        Row("exec, cached, unlocked, 30 profiles", EXEC, unlocked, 1.5, 1.25),
        Row("the same, 1,000 profiles and items", EXEC, unlocked_large, 1.5, 1.25),
        Row("exec, cached, through the agent", EXEC, in_agent, 1.7, 1.4),
        Row("export --format json, cached, unlocked", EXPORT, unlocked, 1.5, 1.25),
        Row("exec, cached, key file, 30 profiles", EXEC, keyed, 3.5, 3.2),
        Row("the same, without the hot lane", EXEC, {**keyed, "FILEVAULT_NO_LANE": "1"}),
        Row("list, 1,000 items and profiles", ("list",), large, 4.0, 3.0),
        Row("list, 10,000 items, 1,000 sessions", ("list",), huge, 8.0, 6.0),
        Row("exec, cached, passphrase variable", EXEC, by_passphrase, counted=False),
        Row("export, cached, key file", EXPORT, keyed),
        Row("the same, Identity Center", SSO, corp, new=True),
        Row("the same, login session", LOGIN_SESSION, console, new=True),
        Row("export, cold, one STS call", (*EXPORT, "--refresh"), keyed, counted=False),
        Row("the same, Identity Center", (*SSO, "--refresh"), corp, counted=False, new=True),
    ]


def others(bench: Bench, env: Mapping[str, str], corp: Mapping[str, str]) -> list[Other]:
    """Return the processes of other programs; `corp` is signed in to Identity Center."""
    derive = (
        "from argon2.low_level import Type, hash_secret_raw as h; "
        "h(b'x' * 16, b'y' * 16, 3, 65536, 4, 64, Type.ID)"
    )
    cold_boto3 = "import boto3; boto3.client('sts', region_name='eu-west-1').get_session_token()"
    signed = {**env, **bench.long_term()}
    found = [
        Other("python: Argon2id alone, imports included", [sys.executable, "-c", derive], env),
        Other("python: boto3 and one STS call", [sys.executable, "-c", cold_boto3], signed),
    ]
    if AWS_CLI_2:
        cold = ["sh", "-c", 'rm -f "$HOME"/.aws/cli/cache/*.json; exec "$@"', "sh", AWS_CLI_2]
        words = ["configure", "export-credentials", "--profile=sso"]
        found.append(Other("cold, Identity Center (AWS CLI v2)", [*cold, *words], corp))
    aws = BIN / "aws"
    if aws.exists():
        found.append(
            Other("aws configure list (AWS CLI v1)", [str(aws), "configure", "list"], signed)
        )
    for name, words in (
        ("aws-vault --version", ["aws-vault", "--version"]),
        ("pass version", ["pass", "version"]),
        ("age --version", ["age", "--version"]),
    ):
        if shutil.which(words[0]):
            found.append(Other(name, words, dict(os.environ)))
    return found


def print_table(builds: Sequence[Build], measured: Sequence[Row], base: Mapping[str, str]) -> float:
    """Measure and print the rows for each build; return the seconds of `python -c pass`."""
    processes: dict[str, tuple[Sequence[str], Mapping[str, str]]] = {
        "pass": ([builds[0].python, *PASS], base)
    }
    for number, row in enumerate(measured):
        for build in builds[-1:] if row.new else builds:
            processes[f"{build.name} {number}"] = ([build.program, *row.words], row.env)
    times = medians(processes)
    unit = times["pass"]
    valgrind = shutil.which("valgrind")
    start = None
    if valgrind is None:
        print("valgrind is not installed: no instructions are counted")
    else:
        start = instructions(valgrind, [builds[0].python, *PASS], _bytes(base))
    shown = "" if start is None else f", {start / 1e6:.1f} million instructions"
    print(f"python -c pass: {unit * 1000:.1f} ms{shown}\n")
    heads = "".join(f"{build.name:>26}" for build in builds)
    print(f"{'':40}{heads}{'at most':>9}{'aim':>7}")
    for number, row in enumerate(measured):
        line, ratio = f"{row.name:40}", 0.0
        for build in builds:
            seconds = times.get(f"{build.name} {number}")
            if seconds is None:
                line += f"{'-':>26}"
                continue
            found = count(build, row)
            ratio = seconds / unit
            cell = f"{seconds * 1000:8.1f} ms{ratio:6.2f}x"
            if found is not None and start is not None:
                ratio = found / start
                cell = f"{ratio:6.2f}x i. {cell}"
            line += f"{cell:>26}"
        if row.most is not None and row.aim is not None:
            verdict = "aim met" if ratio <= row.aim else "met" if ratio <= row.most else "MISSED"
            line += f"{row.most:8.2f}x{row.aim:6.2f}x  {verdict}"
        print(line, flush=True)
    print('\n"i." is the ratio of instructions, which decides where there is one; then the clock.')
    return unit


def peak_memory(argv: Sequence[str], env: Mapping[str, str]) -> int:
    """Return the peak memory of a process in KiB.

    A small process starts it: the peak of a process counts from that of the one that it is
    forked from (getrusage(2), `ru_maxrss`), and the bench itself is large.
    """
    code = (
        "import posix, sys\n"
        "pid = posix.posix_spawn(sys.argv[1], sys.argv[1:], posix.environ)\n"
        "_, status, usage = posix.wait4(pid, 0)\n"
        "posix.write(2, b'%d' % usage.ru_maxrss)\n"
        "posix._exit(status != 0)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, *argv],
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=True,
    )
    return int(done.stderr)


def print_memory(builds: Sequence[Build], row: Row, base: Mapping[str, str]) -> None:
    """Print the peak memory of a run beside that of `python -c pass`."""
    unit = peak_memory([builds[0].python, *PASS], base)
    cells = []
    for build in builds:
        run([build.program, *row.words], row.env)
        peak = peak_memory([build.program, *row.words], row.env)
        cells.append(f"{build.name} {peak / 1024:.1f} MiB, {peak / unit:.2f}x")
    print(f"peak memory of {row.name} (at most 1.15x): {'; '.join(cells)}")


def print_asked(builds: Sequence[Build], home: Path, env: Mapping[str, str]) -> None:
    """Print what boto3 and the AWS CLI take to ask many times in a row, by each build."""
    config = home / ".aws/config"
    before = config.read_text(encoding="utf-8")
    for build in builds:
        command = f"credential_process = {build.program} {' '.join(EXPORT)}\n"
        config.write_text(f"{before}[profile sdk]\nregion = eu-west-1\n{command}", encoding="utf-8")
        code = (
            "from boto3.session import Session\n"
            f"for _ in range({ASKED}):\n"
            "    Session(profile_name='sdk').get_credentials().get_frozen_credentials()"
        )
        time.sleep(0.1)  # until the config may be a witness again
        for _ in range(2):
            run([build.program, *EXPORT], env)
        seconds = run([sys.executable, "-c", code], env)
        line = f"credential_process x {ASKED}, {build.name}: boto3 {seconds:.2f} s"
        aws = BIN / "aws"
        if aws.exists():
            argv = [str(aws), "configure", "list", "--profile", "sdk"]
            total = sum(run(argv, env) for _ in range(ASKED))
            line += f", AWS CLI {total:.2f} s"
        print(line, flush=True)
    config.write_text(before, encoding="utf-8")


def parallel(build: Build, bench: Bench, folder: Path) -> str:
    """Start 64 cold exports at once; return what they cost AWS."""
    env = bench.user(folder / "parallel", profiles=1, items=1, sessions=0)
    bench.fake.reset_calls()
    began = time.perf_counter()
    processes = [
        subprocess.Popen(
            [build.program, *EXPORT],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(64)
    ]
    answers = {process.communicate()[0] for process in processes}
    seconds = time.perf_counter() - began
    calls = len(bench.fake.calls)
    verdict = "met" if calls == 1 and len(answers) == 1 else "MISSED"
    return f"64 parallel cold exports: {calls} STS call(s), {seconds:.1f} s in all: {verdict}"


def main() -> int:
    """Measure and print."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    print(f"{ROUNDS} rounds, interleaved; {os.cpu_count()} cores; Python {sys.version.split()[0]}")
    with (
        FakeAws() as fake,
        tempfile.TemporaryDirectory(prefix="filevault-bench-") as name,
        contextlib.ExitStack() as opened,
    ):
        folder = Path(name)
        build = this_build(folder)
        earlier = earlier_build(EARLIER, folder)
        if earlier is None:
            print(f"commit {EARLIER} is not available here: this build is measured alone")
        builds = [build] if earlier is None else [earlier, build]
        bench = Bench(fake)
        measured = rows(bench, builds, folder, opened)
        unlocked = measured[0]
        base = {"PATH": unlocked.env["PATH"], "HOME": unlocked.env["HOME"], "LANG": "C.UTF-8"}
        unit = print_table(builds, measured, base)
        found = others(bench, unlocked.env, measured[-1].env)
        times = medians({each.name: (each.argv, each.env) for each in found})
        print()
        for each in found:
            seconds = times[each.name]
            print(f"{each.name:60}{seconds * 1000:8.1f} ms{seconds / unit:7.2f}x")
        print()
        print_memory(builds, unlocked, base)
        print_asked(builds, folder / "small", unlocked.env)
        print(parallel(build, bench, folder))
        print(endpoint.report(bench, folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
