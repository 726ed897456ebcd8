#!/usr/bin/env bash
# An exec plugin in a kubeconfig, as for EKS: seven clients, and none renews its token by the rule.
#
# A good guess: a client runs the plugin (EKS: `aws eks get-token`, tokens live 14 minutes), keeps
# the token until its expirationTimestamp, and runs the plugin again at that time, or earlier if the
# server answers 401. Kubernetes' documentation says both, and kubernetes_asyncio has closed its
# issue about it, so a service may run for days on one kubeconfig.
#
# What happens:
# - kubernetes renews five minutes before the end, but not at 401: a token that states no end, or
#   that the server took back, is sent from then on;
# - kubernetes.aio, which came into the same package in 2026, and kubernetes_asyncio run the plugin
#   when they load the configuration, and never again: each request fails after 14 minutes;
# - kr8s and lightkube do not look at the end, they wait for the 401;
# - @kubernetes/client-node renews at the end, but not at 401; without an end it runs the plugin for
#   each request;
# - pykube-ng runs the plugin for each request, whatever it answers.
#
# Why the guess is wrong: the rule is client-go's, and each library has its own code. What closed
# the issue of the asynchronous client is a coroutine, refresh_token(), which the program must start
# itself; load_kube_config() sets no hook as that of the synchronous client does. kubernetes.aio was
# taken over from kubernetes_asyncio, with the coroutine and without a hook.
#
# Source: Kubernetes documentation, "Authenticating", client-go credential plugins, input and output
# formats; kubernetes, config/kube_config.py (_set_config) and aio/config/kube_config.py
# (refresh_token); kubernetes_asyncio, issue 257; lightkube, config/client_adapter.py (ExecAuth);
# @kubernetes/client-node, dist/exec_auth.js; pykube-ng, pykube/http.py.
#
# For users: a plugin must state the end of its token. It may be run at any time and for each
# request, so it must never need a person: put a credential store that caches the session behind it.
# In an asynchronous program start refresh_token() with the loader and the settings, as below.
set -euo pipefail

die() { echo "$*" >&2; exit 1; }
for tool in node npm; do
    command -v "$tool" >/dev/null || die "needs Node.js 20 and npm: apt-get install nodejs npm"
done
python3 -c 'import venv, ensurepip' 2>/dev/null || die "needs apt-get install python3-venv"

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -qq --disable-pip-version-check kubernetes==37.0.2 \
    kubernetes_asyncio==36.1.0 kr8s==0.20.15 lightkube==1.0.1 lightkube-models==1.37.0.8 \
    pykube-ng==23.6.0
npm install --silent --no-audit --no-fund --prefix "$dir/js" @kubernetes/client-node@1.4.0 \
    >/dev/null 2>&1 || die "npm could not install the JavaScript client"

cat > "$dir/client.py" <<'PY'
"""List the namespaces four times with one client; after two times the token comes to its end."""

import asyncio
import sys
from urllib.request import urlopen

name, kubeconfig, url, pause = sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4])


async def ask(list_namespaces):
    for number in range(4):
        if number == 2:
            await asyncio.sleep(pause)
            urlopen(f"{url}/end").read()
        try:
            answer = list_namespaces()
            if asyncio.iscoroutine(answer):
                await answer
            print("ok")
        except Exception:
            print("failed")


async def asynchronous(client, config, refresh_token=None):
    settings = client.Configuration()
    loader = await config.load_kube_config(kubeconfig, client_configuration=settings)
    if refresh_token:
        task = asyncio.create_task(refresh_token(loader, settings, interval=1))
    async with client.ApiClient(settings) as api:
        await ask(client.CoreV1Api(api).list_namespace)


if name == "kubernetes":
    from kubernetes import client, config
    config.load_kube_config(kubeconfig)
    asyncio.run(ask(client.CoreV1Api().list_namespace))
elif name == "kubernetes.aio":
    from kubernetes.aio import client, config
    asyncio.run(asynchronous(client, config))
elif name == "aio, refresh_token":
    from kubernetes.aio import client, config
    from kubernetes.aio.config import refresh_token
    asyncio.run(asynchronous(client, config, refresh_token))
elif name == "kubernetes_asyncio":
    from kubernetes_asyncio import client, config
    asyncio.run(asynchronous(client, config))
elif name == "kr8s":
    import kr8s
    api = kr8s.api(kubeconfig=kubeconfig)
    asyncio.run(ask(lambda: list(api.get("namespaces"))))
elif name == "lightkube":
    from lightkube import Client, KubeConfig
    from lightkube.resources.core_v1 import Namespace
    api = Client(config=KubeConfig.from_file(kubeconfig))
    asyncio.run(ask(lambda: list(api.list(Namespace))))
else:
    import pykube
    api = pykube.HTTPClient(pykube.KubeConfig.from_file(kubeconfig))
    asyncio.run(ask(lambda: list(pykube.Namespace.objects(api))))
PY
cat > "$dir/js/client.mjs" <<'JS'
import { CoreV1Api, KubeConfig } from "@kubernetes/client-node";
const [kubeconfig, url, pause] = process.argv.slice(2);
const config = new KubeConfig();
config.loadFromFile(kubeconfig);
const api = config.makeApiClient(CoreV1Api);
for (let number = 0; number < 4; number++) {
  if (number === 2) {
    await new Promise((wake) => setTimeout(wake, pause * 1000));
    await fetch(`${url}/end`);
  }
  await api.listNamespace().then(() => console.log("ok"), () => console.log("failed"));
}
JS

cat > "$dir/show.py" <<'PY'
import json
import os
import subprocess
import sys
import threading
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

folder = sys.argv[1]
ended = refused = 0
life = None  # of a token, in seconds; None: its end is not stated
issued = []  # the end of each token
FACTS = {
    "/version": {"major": "1", "minor": "33", "gitVersion": "v1.33.0"},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
    "/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": [
        {"name": "namespaces", "singularName": "namespace", "namespaced": False,
         "kind": "Namespace", "verbs": ["get", "list"], "shortNames": ["ns"]}]},
    "/api/v1/namespaces": {"kind": "NamespaceList", "apiVersion": "v1",
                           "metadata": {"resourceVersion": "1"}, "items": []},
}  # fmt: skip


class Server(BaseHTTPRequestHandler):
    """The cluster; what the plugin prints, at /plugin; at /end refuse the tokens so far.

    Those that live 14 minutes are taken back, of the others those that have come to their end.
    """

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        global ended, refused
        status, path = 200, self.path.split("?")[0].rstrip("/")
        if path == "/plugin":
            issued.append(datetime.now(timezone.utc) + timedelta(seconds=life or 0))
            answer = {"token": f"token-{len(issued)}"}
            if life:
                answer["expirationTimestamp"] = f"{issued[-1]:%Y-%m-%dT%H:%M:%SZ}"
            kind = {"apiVersion": "client.authentication.k8s.io/v1beta1", "kind": "ExecCredential"}
            answer = kind | {"spec": {}, "status": answer}
        elif path == "/end":
            now = datetime.now(timezone.utc)
            ended, answer = sum(end <= now or life == 840 for end in issued), {}
        else:
            answer = FACTS[path]
            if int(self.headers["Authorization"].removeprefix("Bearer token-")) <= ended:
                refused += 1
                status, answer = 401, {"kind": "Status", "apiVersion": "v1", "code": 401,
                                       "status": "Failure", "reason": "Unauthorized"}
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}"
with open(f"{folder}/plugin", "w") as file:
    print(f"#!{sys.executable}\nfrom urllib.request import urlopen as get", file=file)
    print(f"print(get('{url}/plugin').read().decode())", file=file)
os.chmod(f"{folder}/plugin", 0o700)
cluster = {"server": url, "insecure-skip-tls-verify": True}
plugin = {"apiVersion": "client.authentication.k8s.io/v1beta1", "command": f"{folder}/plugin",
          "interactiveMode": "Never"}  # fmt: skip
with open(f"{folder}/kubeconfig", "w") as file:  # JSON is YAML, too
    json.dump({
        "apiVersion": "v1", "kind": "Config", "current-context": "example",
        "clusters": [{"name": "example", "cluster": cluster}],
        "users": [{"name": "example", "user": {"exec": plugin}}],
        "contexts": [{"name": "example", "context": {"cluster": "example", "user": "example"}}],
    }, file)  # fmt: skip


def show(client, stated, expected, runs=None):
    """Run a client that makes four requests; `stated` is 840 (14 minutes), few or None."""
    global life, ended, refused
    life, ended, refused = stated, 0, 0
    issued.clear()
    words = (f"{folder}/kubeconfig", url, str(stated + 1 if stated and stated < 60 else 0))
    command = (sys.executable, "-W", "ignore", f"{folder}/client.py", client, *words)
    if client == "client-node":
        command = ("node", "--no-warnings", f"{folder}/js/client.mjs", *words)
    env = {"PATH": os.environ["PATH"], "HOME": folder}
    answer = subprocess.run(command, env=env, capture_output=True, text=True, timeout=100)
    seen = answer.stdout.split()
    if seen[:2] != ["ok", "ok"] or len(seen) != 4:
        sys.exit(f"{client} did not get so far: {answer.stdout}{answer.stderr}")
    kind = "fails from then on"
    if seen[2:] == ["ok", "ok"]:
        kind = "renewed after a 401" if refused else "renewed in time"
    print(f"  {client:18} {len(issued)} runs of the plugin, {refused} times 401: {kind}")
    kind == expected or sys.exit(f"changed: expected {expected}")
    runs in (None, len(issued)) or sys.exit(f"changed: expected {runs} runs")


names = ("kubernetes", "kubernetes_asyncio", "kr8s", "lightkube", "pykube-ng")
print(*(f"{name} {version(name)}" for name in names), sep=", ")
with open(f"{folder}/js/node_modules/@kubernetes/client-node/package.json") as file:
    print("@kubernetes/client-node", json.load(file)["version"])

in_time, late, never = "renewed in time", "renewed after a 401", "fails from then on"
print("a token that states its end, and comes to it")
show("kubernetes", 4, in_time)
show("kubernetes.aio", 4, never, runs=1)
show("kubernetes_asyncio", 4, never, runs=1)
show("aio, refresh_token", 9, in_time)
show("kr8s", 4, late)
show("lightkube", 4, late)
show("client-node", 4, in_time)
show("pykube-ng", 4, in_time, runs=4)
print("a token for 14 minutes that the server takes back")
show("kubernetes", 840, never)
show("client-node", 840, never)
print("a token that states no end, and comes to it")
show("kubernetes", None, never)
show("client-node", None, in_time, runs=4)
PY
"$dir/venv/bin/python" "$dir/show.py" "$dir"
echo "as described"
