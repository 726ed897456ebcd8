"""URLs of endpoints: what is accepted, beside the same as regular expressions."""

from __future__ import annotations

import re

from hypothesis import example, given
from hypothesis import strategies as st

from filevault.aws.endpoint import check_url, is_loopback, stays_here
from filevault.errors import ConfigError

URL = re.compile(
    r"(https?)://(\[[0-9a-f:.]+\]|(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?)(?::(\d{1,5}))?"
    r"(?:/[!-~]*)?\Z",
    re.IGNORECASE | re.ASCII,
)
LOOPBACK = re.compile(r"(?:localhost|\[::1\]|127(?:\.(?:25[0-5]|2[0-4]\d|1?\d?\d)){3})\Z", re.ASCII)

schemes = st.sampled_from(("https://", "http://", "HTTP://", "ftp://", "//", "https:/", ""))
hosts = st.sampled_from(
    ("localhost", "LocalHost", "[::1]", "[::g]", "[]", "[::1", "a-b_c.d", "a..b", "a.", ".", "é")
)
addresses = st.builds(
    "{}.{}.{}".format,
    st.sampled_from(("127.0", "126.0", "127", "127.255")),
    st.integers(0, 999),
    st.sampled_from(("1", "255", "256", "007", "07", "٣", "")),
)
ports = st.sampled_from(("", ":", ":0", ":80", ":65535", ":65536", ":123456", ":8a", ":٣", "80"))
paths = st.sampled_from(("", "/", "/a?b#c", "/a b", "/é", "/\x7f", "/\n", "\n", "/a@b", "@b"))
urls = st.builds(
    "{}{}{}{}".format, schemes, hosts | addresses | st.text("a.-@:[]/%é", max_size=6), ports, paths
)


@given(urls | st.text(max_size=12))
@example("https://" + "a" * 63 + ".b")
@example("https://" + "a" * 64 + ".b")
def test_a_url_is_accepted_if_it_has_the_form(url: str) -> None:
    match = URL.match(url)
    valid = match is not None and int(match[3] or 0) <= 65535
    here = valid and match is not None and LOOPBACK.match(match[2].lower()) is not None
    assert stays_here(url) == here
    for allow_http in (False, True):
        safe = match is not None and (match[1].lower() == "https" or here or allow_http)
        try:
            check_url(url, allow_http=allow_http)
        except ConfigError:
            assert not (valid and safe)
        else:
            assert valid
            assert safe


@given(hosts | addresses | st.text("127.0[]:", max_size=12))
def test_a_host_is_the_loopback_interface_by_name_or_address(host: str) -> None:
    assert is_loopback(host) == (LOOPBACK.match(host) is not None)
