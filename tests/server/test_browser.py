"""A page in a real browser gets nothing from an endpoint, even if it knew the token."""

from __future__ import annotations

import json
import subprocess
import threading
from pathlib import Path

from tests.fakes.server import FakeServer
from tests.fakes.wire import HttpAnswer, HttpRequest
from tests.worlds.chromium import Chromium
from tests.worlds.endpoint import Endpoint

PAGE = """<!doctype html><title>page</title><body><script>
async function attempt(name, options, path) {
  try {
    const answer = await fetch("http://127.0.0.1:%(port)d" + path, options);
    return [name, answer.type, answer.status, await answer.text()];
  } catch (error) {
    return [name, "refused", 0, String(error)];
  }
}
(async () => {
  const token = "%(token)s";
  const found = [
    await attempt("with the token", { headers: { Authorization: token } }, "/"),
    await attempt("without", {}, "/"),
    await attempt("no-cors", { mode: "no-cors" }, "/"),
    await attempt("no-cors with the token",
                  { mode: "no-cors", headers: { Authorization: token } }, "/"),
    await attempt("post", { method: "POST", mode: "no-cors", body: "x" }, "/"),
  ];
  await fetch("/found", { method: "POST", body: JSON.stringify(found) });
})();
</script>"""


def test_a_page_in_a_browser_gets_nothing(tmp_path: Path) -> None:
    found: list[list[object]] = []
    there = threading.Event()
    chromium = Chromium(tmp_path)
    with Endpoint() as endpoint:

        def respond(request: HttpRequest) -> HttpAnswer:
            if request.path == "/found":
                found.extend(json.loads(request.body))
                there.set()
                return HttpAnswer(200, b"{}", "application/json")
            page = PAGE % {"port": endpoint.port, "token": endpoint.token}
            return HttpAnswer(200, page.encode(), "text/html")

        with (
            FakeServer(respond) as server,
            subprocess.Popen(
                [*chromium.words, server.url],
                env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            ) as browser,
        ):
            try:
                assert there.wait(60)
            finally:
                browser.terminate()
                browser.wait(20)
        assert server.defects == []
        assert len(found) == 5
        for name, kind, status, text in found:
            assert kind in ("refused", "opaque"), name
            assert (status, "Secret" in str(text)) == (0, False), name
        # Each request that the browser did send was refused: the preflight, too.
        assert endpoint.log
        assert not [line for line in endpoint.log if line.endswith(": 200")]
        assert endpoint.is_answering()
