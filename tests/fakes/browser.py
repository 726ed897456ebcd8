"""A browser for tests, as a program: opens an address and follows where it is sent.

Needs the standard library only. Sends what a browser sends, and ends with status 0 if a page came.
"""

from __future__ import annotations

import sys
import urllib.request

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def visit(address: str) -> str:
    """Open an address and return the page at the end."""
    request = urllib.request.Request(address, headers={"User-Agent": "Mozilla/5.0"})
    with _OPENER.open(request, timeout=30) as response:
        page: bytes = response.read()
    return page.decode("utf-8")


if __name__ == "__main__":
    print(visit(sys.argv[1]), file=sys.stderr)
