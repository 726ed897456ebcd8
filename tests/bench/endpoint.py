"""The endpoint of `exec --server` in `make bench`: requests per second, delays, memory.

Beside it stands a bare handler of Python's own threading server that returns the same bytes.
Rounds are interleaved; the clients are one process with an epoll loop.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.bench.vaults import Bench

BIN = Path(sys.executable).parent
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "15")) // 3 or 1
ROLE = "arn:aws:iam::123456789012:role/bench-role"
LEAST = 3000  # requests per second
RATIO = 1.5  # of the bare handler's
DELAY = 10.0  # milliseconds, of 99 in 100 requests
MEMORY = 32.0  # MiB

HEAD = """
import json, os, select, socket, sys, time
from urllib.parse import urlsplit
port = urlsplit(os.environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"]).port
def head(path="/"):
    lines = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Accept-Encoding: identity",
             "User-Agent: Boto3/1.44.8 md/Botocore#1.44.8 ua/2.1 os/linux", "Accept: */*",
             "Authorization: " + os.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN"], "", ""]
    return "\\r\\n".join(lines).encode()
def connect():
    made = socket.create_connection(("127.0.0.1", port))
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made
poll = select.epoll()
clients = {}
for _ in range(32):
    client = connect()
    clients[client.fileno()] = client
    poll.register(client, select.EPOLLIN)
"""
THROUGHPUT = f"""{HEAD}
request, count = head(), 0
for client in clients.values():
    client.send(request)
began = time.perf_counter()
while time.perf_counter() - began < 1.0:
    for fd, _ in poll.poll(1):
        if clients[fd].recv(65536).endswith(b"}}"):
            count += 1
            clients[fd].send(request)
print(count / (time.perf_counter() - began))
"""
DELAYS = f"""{HEAD}
request, idle, sent, delays = head(), list(clients), {{}}, []
obtaining = connect()
obtaining.send(head("/role-arn/{ROLE}"))  # which loads botocore in a copy
began = time.perf_counter()
offered = 0
while offered < 2000:
    now = time.perf_counter()
    while offered < (now - began) * 1000 and idle:
        fd = idle.pop()
        sent[fd] = began + offered / 1000  # when it was due, so that waiting for a turn counts
        clients[fd].send(request)
        offered += 1
    for fd, _ in poll.poll(0.0005):
        clients[fd].recv(65536)
        delays.append((time.perf_counter() - sent.pop(fd)) * 1000)
        idle.append(fd)
status = obtaining.recv(65536)[:12]
delays.sort()
print(json.dumps([delays[len(delays) * 99 // 100], status.decode()]))
"""
MEMORIES = """
import json, os
def memory(pid, name):
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith(name))
parent = os.getppid()
with open(f"/proc/{parent}/task/{parent}/children") as file:
    others = [int(pid) for pid in file.read().split() if int(pid) != os.getpid()]
print(json.dumps([memory(parent, "Rss:"), sum(memory(pid, "Pss:") for pid in (parent, *others))]))
"""
BARE = """
import http.server, sys
body = sys.argv[1].encode()
class Handler(http.server.BaseHTTPRequestHandler):
    wbufsize = -1
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
    def handle(self):
        try:
            super().handle()
        except ConnectionError:
            pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


def _served(env: dict[str, str], script: str) -> str:
    """Run a client as the command of `exec --server`."""
    words = ["exec", "--server", "--allow-role", ROLE, "p0", "--", sys.executable, "-c", script]
    return subprocess.run(
        [str(BIN / "filevault"), *words],
        env=env,
        check=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    ).stdout


@contextlib.contextmanager
def _bare(body: str) -> Iterator[dict[str, str]]:
    """Serve a body with Python's own server; yield the environment of a client."""
    with subprocess.Popen(
        [sys.executable, "-c", BARE, body],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        yield {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{port}/",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": "x" * 43,
        }
        server.kill()


def _verdict(kept: bool) -> str:
    return "kept" if kept else "FALLS SHORT"


def report(bench: Bench, folder: Path) -> str:
    """Measure; return the lines of the table."""
    bench.fake.add_role("bench-role")
    env = bench.user(folder / "endpoint", profiles=1, items=1, sessions=1)
    answer = "import os, urllib.request as r; print(r.urlopen(r.Request(os.environ"
    answer += "['AWS_CONTAINER_CREDENTIALS_FULL_URI'], headers={'Authorization': os.environ"
    answer += "['AWS_CONTAINER_AUTHORIZATION_TOKEN']})).read().decode())"
    body = _served(env, answer).strip()
    ours, theirs, delays, usual = [], [], [], []
    nothing_else = DELAYS.replace(f"/role-arn/{ROLE}", "/")
    with _bare(body) as bare:
        for _ in range(ROUNDS):
            ours.append(float(_served(env, THROUGHPUT)))
            client = [sys.executable, "-c", THROUGHPUT]
            theirs.append(float(subprocess.check_output(client, env=bare)))
            delay, status = json.loads(_served(env, DELAYS))
            assert status == "HTTP/1.1 200", status
            delays.append(delay)
            usual.append(json.loads(_served(env, nothing_else))[0])
    rate, other = statistics.median(ours), statistics.median(theirs)
    delay = statistics.median(delays)
    resident, together = json.loads(_served(env, MEMORIES))
    rate_kept = _verdict(rate >= max(LEAST, RATIO * other))
    lines = [
        f"32 clients: {rate:,.0f} requests/s, {rate / other:.1f} x a bare handler: {rate_kept}",
        f"99 of 100 requests at 1,000/s, credentials being obtained: {delay:.1f} ms, else "
        f"{statistics.median(usual):.1f} ms: " + _verdict(delay <= DELAY),
        f"memory of the serving process: {resident:.1f} MiB, {together:.1f} with the renewing one: "
        + _verdict(resident <= MEMORY),
    ]
    return "\n".join(f"endpoint, {line}" for line in lines)
