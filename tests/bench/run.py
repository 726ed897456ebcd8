"""`make bench`: whole processes, medians, as ratios to `python -c pass` in the same environment.

Nothing here fails a build: the table says which budgets are kept. Rounds are interleaved, so
that a noisy minute hits every row alike.
"""

from __future__ import annotations

import compileall
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from tests.bench import endpoint  # noqa: E402 - after the path is set
from tests.bench.vaults import Bench  # noqa: E402 - after the path is set
from tests.fakes import FakeAws  # noqa: E402

BIN = Path(sys.executable).parent
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "15"))


class Measurement(NamedTuple):
    """One measured process; `budget` is a ratio, or a function of the other medians."""

    name: str
    argv: Sequence[str]
    env: dict[str, str]
    budget: Callable[[dict[str, float]], float] | None = None


def measure(rows: Sequence[Measurement], rounds: int) -> dict[str, float]:
    """Return the median seconds of each row."""
    times: dict[str, list[float]] = {row.name: [] for row in rows}
    for number in range(rounds + 1):
        for row in rows:
            began = time.perf_counter()
            subprocess.run(
                row.argv,
                env=row.env,
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            if number:  # the first round warms the page cache
                times[row.name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in times.items()}


def rows(bench: Bench, folder: Path, opened: contextlib.ExitStack) -> list[Measurement]:
    """Build the vaults and return what is measured, as long as `opened` is."""
    filevault = str(BIN / "filevault")
    small = bench.user(folder / "small", profiles=30, items=1, sessions=1)
    large = bench.user(folder / "large", profiles=1000, items=1000, sessions=1)
    huge = bench.user(folder / "huge", profiles=30, items=10_000, sessions=1000)
    by_passphrase = bench.user(folder / "passphrase", profiles=30, items=1, sessions=1, key=False)
    unlocked = [bench.unlocked(small), bench.unlocked(large)]
    in_agent = opened.enter_context(bench.in_job(small))
    export = [filevault, "export", "p0", "--format", "json"]
    run = [filevault, "exec", "p0", "--", "/bin/true"]
    derive = (
        "from argon2.low_level import Type, hash_secret_raw as h; "
        "h(b'x' * 16, b'y' * 16, 3, 65536, 4, 64, Type.ID)"
    )
    cold_boto3 = "import boto3; boto3.client('sts', region_name='eu-west-1').get_session_token()"
    base = {"PATH": small["PATH"], "HOME": small["HOME"]}
    found = [
        Measurement("python -c pass", [sys.executable, "-c", "pass"], base),
        Measurement("exec, cached, key file, 30 profiles", run, small, _times(4.0)),
        Measurement("exec, cached, key file, 1,000 profiles and items", run, large, _times(4.0)),
        Measurement("exec, cached, unlocked, 30 profiles", run, unlocked[0], _times(4.0)),
        Measurement(
            "exec, cached, unlocked, 1,000 profiles and items", run, unlocked[1], _times(4.0)
        ),
        Measurement("exec, cached, unlocked in an agent, 30 profiles", run, in_agent, _times(4.0)),
        Measurement("export json, cached, key file", export, small, _times(4.0)),
        Measurement("exec, cached, passphrase variable", run, by_passphrase, _hot_and_derivation),
        Measurement(
            "  (python: Argon2id alone, imports included)", [sys.executable, "-c", derive], base
        ),
        Measurement("list, 1,000 items, 1,000 profiles", [filevault, "list"], large, _times(6.0)),
        Measurement("list, 10,000 items, 1,000 sessions", [filevault, "list"], huge, _times(6.0)),
        Measurement(
            "export json, cold (boto3, one STS call)", [*export, "--refresh"], small, _boto3
        ),
        Measurement(
            "  (python: boto3 and the same call)",
            [sys.executable, "-c", cold_boto3],
            {**small, **bench.long_term()},
        ),
    ]
    aws = BIN / "aws"
    if aws.exists():
        cached = {**small, **bench.long_term()}
        found.append(
            Measurement("aws configure list (AWS CLI v1)", [str(aws), "configure", "list"], cached)
        )
    for name, argv in (
        ("aws-vault --version", ["aws-vault", "--version"]),
        ("pass version", ["pass", "version"]),
        ("age --version", ["age", "--version"]),
    ):
        if shutil.which(argv[0]):
            found.append(Measurement(name, argv, dict(os.environ)))
    return found


def _times(ratio: float) -> Callable[[dict[str, float]], float]:
    return lambda medians: ratio * medians["python -c pass"]


def _hot_and_derivation(medians: dict[str, float]) -> float:
    derivation = medians["  (python: Argon2id alone, imports included)"] - medians["python -c pass"]
    return medians["exec, cached, key file, 30 profiles"] + derivation + 0.035


def _boto3(medians: dict[str, float]) -> float:
    return 1.25 * medians["  (python: boto3 and the same call)"]


def parallel(bench: Bench, folder: Path) -> str:
    """Start 64 cold exports at once; return what they cost AWS."""
    env = bench.user(folder / "parallel", profiles=1, items=1, sessions=0)
    bench.fake.reset_calls()
    began = time.perf_counter()
    processes = [
        subprocess.Popen(
            [str(BIN / "filevault"), "export", "p0", "--format", "json"],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(64)
    ]
    answers = {process.communicate()[0] for process in processes}
    seconds = time.perf_counter() - began
    calls = len(bench.fake.calls)
    verdict = "kept" if calls == 1 and len(answers) == 1 else "FALLS SHORT"
    return f"64 parallel cold exports: {calls} STS call(s), {seconds:.1f} s in all: {verdict}"


def main() -> int:
    """Measure and print the table."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    for package in ("filevault", "backends"):
        compileall.compile_dir(str(ROOT / package), quiet=2)
    print(f"{ROUNDS} rounds, interleaved; {os.cpu_count()} cores; Python {sys.version.split()[0]}")
    with (
        FakeAws() as fake,
        tempfile.TemporaryDirectory(prefix="filevault-bench-") as name,
        contextlib.ExitStack() as opened,
    ):
        folder = Path(name)
        bench = Bench(fake)
        measured = rows(bench, folder, opened)
        medians = measure(measured, ROUNDS)
        unit = medians["python -c pass"]
        print(f"\n{'':52}{'median':>9}{'ratio':>8}{'budget':>10}")
        for row in measured:
            seconds = medians[row.name]
            line = f"{row.name:52}{seconds * 1000:6.1f} ms{seconds / unit:7.2f}x"
            if row.budget is not None:
                limit = row.budget(medians)
                verdict = "kept" if seconds <= limit else "FALLS SHORT"
                line += f"{limit / unit:9.2f}x  {verdict}"
            print(line)
        print(f"\n{parallel(bench, folder)}")
        print(f"\n{endpoint.report(bench, folder)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
