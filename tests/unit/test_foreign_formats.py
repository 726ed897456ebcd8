from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from filevault.credentials import AccessKey
from filevault.errors import DamagedError, NewerFormatError, UnsupportedItemError
from filevault.system.strict_json import is_too_deep
from filevault.vault import foreign_formats
from filevault.vault.foreign_formats import is_aws_vault_session, read_foreign
from filevault.vault.item import compose, parse
from filevault.vault.item_lines import ROTATION_FIELDS
from tests.samples import EXAMPLE_ID as ID
from tests.samples import EXAMPLE_SESSION_ID, OTHER_ID, OTHER_SECRET, SECRET

KEY = AccessKey(ID, SECRET)
NEW = AccessKey(OTHER_ID, OTHER_SECRET)
SERIAL = "arn:aws:iam::111122223333:mfa/jonsmith"
OTPAUTH = "otpauth://totp/aws?secret=JBSWY3DPEHPK3PXP&issuer=aws"
HEAD = (
    f"{NEW.secret_access_key}\naws_access_key_id: {NEW.access_key_id}\n"
    "created: 2026-11-23T21:45:13Z\nfilevault: 1 name=jonsmith\n"
)
HEAD_WITH_SERIAL = HEAD.replace("created:", f"mfa_serial: {SERIAL}\ncreated:")


def rewritten(old: str | bytes, mfa_serial: str | None = None) -> str:
    data = old if isinstance(old, bytes) else old.encode()
    new = compose(
        "jonsmith",
        NEW,
        created="2026-11-23T21:45:13Z",
        created_from="add",
        mfa_serial=mfa_serial,
        old=data,
    )
    assert parse(new, "item").key == NEW
    return new.decode("utf-8", "surrogateescape")


def aws_vault(name: str = "jonsmith", **changes: object) -> str:
    """An entry as AWS Vault's keyring writes it into a pass store."""
    data = {
        "AccessKeyID": ID,
        "SecretAccessKey": SECRET,
        "SessionToken": "",
        "Source": "",
        "CanExpire": False,
        "Expires": "0001-01-01T00:00:00Z",
        "AccountID": "",
        **changes,
    }
    return json.dumps(
        {
            "Key": name,
            "Data": base64.b64encode(json.dumps(data).encode()).decode(),
            "Label": f"aws-vault ({name})",
            "Description": "",
            "KeychainNotTrustApplication": True,
            "KeychainNotSynchronizable": False,
        }
    )


PROCESS = {"Version": 1, "AccessKeyId": ID, "SecretAccessKey": SECRET}

# What stands there, and what a rewrite leaves of it below our own lines.
TABLE = [
    pytest.param(f"{SECRET}\naccess_key: {ID}\nregion: eu-west-1\n", "region: eu-west-1\n", id="A"),
    pytest.param(f"{SECRET}\nuser: {ID}\nregion: x", "region: x", id="A user, no final newline"),
    pytest.param(
        f"{SECRET}\nAccess Key ID: {ID}\nsecret_key: {SECRET}\nsecret_key: {SECRET}\n# why\n",
        "# why\n",
        id="A secret_key twice",
    ),
    pytest.param(
        f"console pass word\nuser: jon\naccess-key: {ID}\nsecret-key: {SECRET}\nurl: https://x=y\n",
        "console pass word\nuser: jon\nurl: https://x=y\n",
        id="A under a console password",
    ),
    pytest.param(
        f"CorrectHorse12345\naws_access_key_id: {ID}\naws_secret_access_key: {SECRET}\n",
        "CorrectHorse12345\n",
        id="A under a console password that might be a secret",
    ),
    pytest.param(f"{ID}\nsecret_key: {SECRET}\n", "", id="A with the id in line 1"),
    pytest.param(
        f"{SECRET}\naccess_key: {ID}\n{OTPAUTH}\npassword: mine\ngopass: x\n",
        f"{OTPAUTH}\npassword: mine\ngopass: x\n",
        id="A with lines of other programs",
    ),
    pytest.param(json.dumps(PROCESS), "", id="B"),
    pytest.param(json.dumps(PROCESS, indent=2) + "\n", "", id="B indented"),
    pytest.param("\n " + json.dumps(PROCESS), "", id="B after a blank line"),
    pytest.param(
        json.dumps({**PROCESS, "SessionToken": None, "Expiration": None}), "", id="B with nulls"
    ),
    pytest.param(
        json.dumps({**PROCESS, "Region": "eu-west-1", "tags": ["a", {"b": 1}], "n": 3, "ok": True}),
        'Region: eu-west-1\ntags: ["a", {"b": 1}]\nn: 3\nok: true\n',
        id="B with other names",
    ),
    pytest.param(
        json.dumps({**PROCESS, "password": "mine", "created": "1999", "note": "a\nb", "a: b": ""}),
        'json: {"password": "mine"}\njson: {"created": "1999"}\n'
        'note: "a\\nb"\njson: {"a: b": ""}\n',
        id="B with names and values that no line can have",
    ),
    pytest.param(
        json.dumps(PROCESS) + f"\n{OTPAUTH}\r\nnotes \x00 as they are",
        f"{OTPAUTH}\r\nnotes \x00 as they are",
        id="B with lines below",
    ),
    pytest.param(
        f"export AWS_ACCESS_KEY_ID={ID}\nexport AWS_SECRET_ACCESS_KEY={SECRET}\n",
        "",
        id="D",
    ),
    pytest.param(
        f"# mine\nAWS_ACCESS_KEY_ID='{ID}';\n  export AWS_SECRET_ACCESS_KEY=\"{SECRET}\"\n"
        "export AWS_REGION=eu-west-1\n",
        "# mine\nexport AWS_REGION=eu-west-1\n",
        id="D quoted, with more",
    ),
    pytest.param(
        f"[default]\naws_access_key_id = {ID}\naws_secret_access_key = {SECRET}\nregion = x\n",
        "[default]\nregion = x\n",
        id="E",
    ),
    pytest.param(
        f"aws_secret_access_key: {SECRET}\naws_access_key_id: {ID}\n",
        "",
        id="E with colons",
    ),
    pytest.param(aws_vault(), "", id="F"),
    pytest.param(aws_vault(ProviderName="x") + "\n", "", id="F of version 5"),
    pytest.param(
        aws_vault(Team="ops").replace('"Description": ""', '"Description": "of Jon"'),
        "Team: ops\nDescription: of Jon\n",
        id="F with more",
    ),
]


@pytest.mark.parametrize(("text", "kept"), TABLE)
def test_a_foreign_form_is_read_and_rewritten_as_ours(text: str, kept: str) -> None:
    item = parse(text.encode(), "item")
    assert (item.key, item.mfa_serial, item.created, item.path_name) == (KEY, None, None, None)
    new = rewritten(text)
    assert new == HEAD + kept
    assert SECRET not in new
    assert ID not in new


@pytest.mark.parametrize(
    "text",
    [
        f"{SECRET}\naccess_key: {ID}\nmfa_serial: {SERIAL}\n",
        json.dumps({**PROCESS, "mfa_serial": SERIAL}),
        f"AWS_ACCESS_KEY_ID={ID}\nAWS_SECRET_ACCESS_KEY={SECRET}\nAWS_MFA_SERIAL={SERIAL}\n",
        f"[x]\naws_access_key_id={ID}\naws_secret_access_key={SECRET}\nmfa_serial = {SERIAL}\n",
    ],
)
def test_the_mfa_serial_is_read_and_kept(text: str) -> None:
    assert parse(text.encode(), "item").mfa_serial == SERIAL
    assert rewritten(text).removesuffix("[x]\n") == HEAD_WITH_SERIAL
    assert "mfa_serial: GAHT1\n" in rewritten(text, "GAHT1")
    assert SERIAL not in rewritten(text, "GAHT1")


def test_line_ends_of_a_foreign_form_are_kept() -> None:
    old = f"{SECRET}\r\naccess_key: {ID}\r\nregion: x\r\nlast"
    assert rewritten(old) == HEAD.replace("\n", "\r\n") + "region: x\r\nlast"


def test_copies_of_the_old_key_do_not_outlive_it_in_our_form_either() -> None:
    old = f"{SECRET}\naws_access_key_id: {ID}\nuser: {ID}\nsecret_key: {SECRET}\nnote: x\n"
    assert parse(old.encode(), "item").key == KEY
    assert rewritten(old) == HEAD + "note: x\n"


def test_lines_that_are_ours_by_name_are_ours_in_a_foreign_form_too() -> None:
    rotation = "".join(f"{name}: x\n" for name in ROTATION_FIELDS)
    old = f"{SECRET}\naccess_key: {ID}\ncreated: last week\n{rotation}note: x\n"
    new = rewritten(old)
    assert new.endswith("note: x\n")
    assert "last week" not in new
    assert not any(name in new for name in ROTATION_FIELDS)


def test_an_item_that_names_filevault_is_ours_whatever_else_it_says() -> None:
    ours = compose("jonsmith", KEY, created="2026-11-23T21:45:13Z", created_from="add")
    text = ours + f"secret_key: {NEW.secret_access_key}\n".encode()
    assert parse(text, "item").key == KEY


@pytest.mark.parametrize(
    "text",
    [
        f"{SECRET}\naccess_key: {ID}\naccess_key: {NEW.access_key_id}\n",
        f"{SECRET}\naccess_key: {ID}\nuser: {NEW.access_key_id}\n",
        f"{SECRET}\naccess_key: {ID}\nsecret_key: {NEW.secret_access_key}\n",
        f"[a]\nkey_id={ID}\nsecret_key={SECRET}\n[b]\nkey_id={NEW.access_key_id}\n",
    ],
)
def test_of_several_keys_none_is_guessed(text: str) -> None:
    with pytest.raises(DamagedError, match="contains several keys") as caught:
        parse(text.encode(), "item")
    assert SECRET not in str(caught.value)
    with pytest.raises(DamagedError, match="contains several keys"):
        rewritten(text)


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({**PROCESS, "SessionToken": "FwoGZXIvYXdzE", "Expiration": "2026-11-24"}),
        json.dumps({**PROCESS, "AccessKeyId": EXAMPLE_SESSION_ID}),
        f"{SECRET}\naccess_key: {ID}\naws_session_token: FwoGZXIvYXdzE\n",
        f"{SECRET}\nuser: {EXAMPLE_SESSION_ID}\n",
        aws_vault(SessionToken="FwoGZXIvYXdzE"),
    ],
)
def test_credentials_of_a_session_are_no_key_but_may_be_replaced(text: str) -> None:
    with pytest.raises(DamagedError, match="temporary credentials of a session"):
        parse(text.encode(), "item")
    assert rewritten(text) == HEAD


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("gopass://aws/other\naws_access_key_id: x\n", "a gopass reference"),
        ("GOPASS-SECRET-1.0\nAccess_key: x\n\nbody", "gopass's old MIME form"),
    ],
)
def test_what_only_gopass_understands_is_refused(text: str, words: str) -> None:
    with pytest.raises(DamagedError, match=words) as caught:
        parse(text.encode(), "item")
    assert "--discard" in (caught.value.hint or "")
    with pytest.raises(DamagedError, match=words):
        rewritten(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            aws_vault("sts.GetSessionToken,am9u,YXJu,1795474404"),
            "a session of AWS Vault, not a key",
        ),
        (
            json.dumps({"Key": "x", "Data": base64.b64encode(b'{"AccessKeyId":"ASIA"}').decode()}),
            "a session of AWS Vault, not a key",
        ),
        (json.dumps({"Key": "x", "Data": "AAA"}), "no valid data"),
        (json.dumps({"Key": "x", "Data": "AAAA"}), "no valid data"),
        (
            json.dumps({"Key": "x", "Data": base64.b64encode(b"[]").decode()}),
            "a session of AWS Vault",
        ),
    ],
)
def test_an_entry_of_aws_vault_without_a_key_says_what_it_is(text: str, words: str) -> None:
    with pytest.raises(DamagedError, match=words):
        parse(text.encode(), "item")


@pytest.mark.parametrize(
    "text",
    [
        SECRET,  # one of two entries: the other is not guessed
        ID,
        f"{SECRET}\nuser: jon\n",
        json.dumps({"AccessKeyId": ID}),
        json.dumps(PROCESS)[:-1],
        json.dumps(PROCESS) + " trailing",
        f'{{"AccessKeyId": "x", {json.dumps(PROCESS)[1:]}',
        "[" * 100_000,
        f"export AWS_ACCESS_KEY_ID={ID} AWS_SECRET_ACCESS_KEY={SECRET}",
    ],
)
def test_what_is_no_key_is_told_what_a_key_looks_like(text: str) -> None:
    with pytest.raises(DamagedError, match="it has no valid") as caught:
        parse(text.encode(), "item")
    assert "line 1 is the secret access key" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "text",
    [
        f'{{\n"AccessKeyId": "x",\n{json.dumps(PROCESS)[1:]}',
        json.dumps(PROCESS) + " trailing",
        f"note\nsecret_key: {SECRET}\n",
    ],
)
def test_a_secret_that_would_stay_behind_stops_the_rewrite(text: str) -> None:
    with pytest.raises(DamagedError, match="parts of its old key might stay") as caught:
        rewritten(text)
    assert "--discard" in (caught.value.hint or "")


def test_a_text_without_any_key_becomes_an_item_with_notes() -> None:
    assert rewritten("old password\nlogin: jon\nnote") == HEAD + "login: jon\nnote"


def test_a_foreign_item_is_never_shown_with_its_secrets() -> None:
    item = read_foreign(f"{SECRET}\naccess_key: {ID}\npassword: mine\n".encode(), "item")
    assert item is not None
    assert SECRET not in repr(item)
    assert "mine" not in repr(item)


@pytest.mark.parametrize(
    "name",
    [
        "sts.GetSessionToken,am9uc21pdGg,YXJuOmF3czppYW06OjExMTExMTExMTExMTptZmEvam9uc21pdGg,1",
        "sts.AssumeRole,am9u,,1795474404",
        "sso.GetRoleCredentials,am9u,aHR0cHM6Ly9j,1795474404",
        "session,am9u,YXJu,1795474404",
        "session:jon:arn:aws:iam::1:mfa/jon:1795474404",
        "jon session (1572281751)",
        "oidc:https://example.awsapps.com/start",
        "oidc:https:/example/start#",
    ],
)
def test_a_session_of_aws_vault_is_known_by_its_name(name: str) -> None:
    assert is_aws_vault_session(name)


@pytest.mark.parametrize(
    "name",
    [
        "jonsmith",
        "a,b",
        "work,am9u,YXJu,later",
        "work,,YXJu,1",
        ",am9u,YXJu,1",
        "x,am9u,YXJ,1,2",
        "x,a,,1",
        "x,am$u,,1",
        "my session",
        "session",
        "session:jon",
        " session (today)",
        "sts.AssumeRole",
        "",
    ],
)
def test_a_profile_is_no_session(name: str) -> None:
    assert not is_aws_vault_session(name)


# Lines that say nothing about a key and are none of ours.
notes = st.one_of(
    st.binary(max_size=30).filter(lambda line: not any(b in line for b in b"\n:=[{")),
    st.from_regex(
        r"(x-[a-z]{1,8}|url|region|# note|totp)( = |: |=)[ -~]{0,20}", fullmatch=True
    ).map(str.encode),
    st.sampled_from([OTPAUTH.encode(), b"", b"[profile]", b"user: jon", b"comment; # x", b"\xff:"]),
)
ends = st.sampled_from([b"\n", b"\r\n"])
owned = st.sampled_from(
    [
        (f"access_key: {ID}", f"secret_key: {SECRET}"),
        (f"export AWS_ACCESS_KEY_ID={ID}", f"export AWS_SECRET_ACCESS_KEY='{SECRET}'"),
        (f"aws_access_key_id = {ID}", f"aws_secret_access_key = {SECRET}"),
        (f"AWS Access Key ID: {ID}", f"AWS Secret Access Key: {SECRET}"),
    ]
)


@given(owned, st.lists(st.tuples(notes, ends), max_size=6), st.data(), st.booleans())
def test_a_rewrite_keeps_every_line_that_it_does_not_own(
    pair: tuple[str, str], lines: list[tuple[bytes, bytes]], data: st.DataObject, final: bool
) -> None:
    kept = [line + end for line, end in lines]
    if kept and not final:
        kept[-1] = lines[-1][0]
    text = list(kept)
    last = len(text) if final or not text else len(text) - 1
    for owned_line in pair:
        text.insert(data.draw(st.integers(0, last)), owned_line.encode() + b"\n")
    old = b"".join(text)
    assert parse(old, "item").key == KEY
    new = rewritten(old).encode("utf-8", "surrogateescape")
    _, _, below = new.partition(b"filevault: 1 name=jonsmith")
    assert below.lstrip(b"\r\n") == b"".join(kept).lstrip(b"\r\n")
    assert parse(new, "item").key == NEW
    assert (
        compose("jonsmith", NEW, created="2026-11-23T21:45:13Z", created_from="add", old=new) == new
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2)
    ),
    max_leaves=4,
)


@given(st.dictionaries(st.text(max_size=12), json_values, max_size=4), st.booleans())
@example({"AccessKeyId ": "x", "password": "a", "---": 1, "user": "jon", "x": "\u2028"}, False)
def test_everything_in_json_that_is_not_the_key_survives_as_lines(
    more: dict[str, object], indented: bool
) -> None:
    about_the_key = (*PROCESS, *foreign_formats._WRAPPER, *foreign_formats._ABOUT_THE_KEY)
    more = {name: value for name, value in more.items() if name not in about_the_key}
    old = json.dumps({**more, **PROCESS}, indent=1 if indented else None)
    new = rewritten(old)
    lines = new.removeprefix(HEAD).split("\n")[:-1]
    assert len(lines) == len(more)
    for line, (name, value) in zip(lines, more.items(), strict=True):
        label, _, shown = line.partition(": ")
        assert label.lower() not in ("secret", "pass", "password")
        assert not line.startswith("---")
        if label == "json":
            assert json.loads(shown) == {name: value}
        else:
            assert label == name
            assert shown == value or json.loads(shown) == value
    assert SECRET not in new


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
@example(b"{}")
@example(b'{"Key": "", "Data": ""}')
@example(b"=\n:")
def test_any_text_is_read_rewritten_or_refused_cleanly(text: bytes) -> None:
    with contextlib.suppress(DamagedError, NewerFormatError):
        parse(text, "item")
    try:
        new = rewritten(text)
    except DamagedError:
        return
    assert new.startswith(NEW.secret_access_key)


@pytest.mark.parametrize("piece", [b" ", b"a", b"a ", b"=", b":", b"{", b"[", b'"', b"a=b\n"])
def test_a_megabyte_of_anything_is_read_in_no_time(piece: bytes) -> None:
    text = piece * ((1 << 20) // len(piece))
    with pytest.raises(UnsupportedItemError if piece == b"{" else DamagedError):
        parse(text, "item")


def nested(depth: int) -> str:
    """Return a key in JSON beside a value that has so many levels."""
    return (
        f'{{"AccessKeyId": "{ID}", "SecretAccessKey": "{SECRET}", "x": '
        + "[" * depth
        + "]" * depth
        + "}"
    )


def wrapped(depth: int) -> str:
    """Return the same in an entry of AWS Vault's."""
    inner = nested(depth).replace("AccessKeyId", "AccessKeyID")
    return json.dumps({"Key": "jon", "Data": base64.b64encode(inner.encode()).decode()})


@pytest.mark.parametrize("make", [nested, wrapped])
@pytest.mark.parametrize("depth", [32, 500, 900, 990, 1100, 100_000])
def test_json_that_is_nested_deeply_is_refused_in_words(
    make: Callable[[int], str], depth: int
) -> None:
    """Between the depths at which reading and at which writing fails, a rewrite would."""
    text = make(depth).encode()
    for read in (lambda: parse(text, "item 'x'"), lambda: rewritten(text)):
        with pytest.raises(UnsupportedItemError, match="nested more than 32 levels deep"):
            read()
    assert parse(make(30).encode(), "item 'x'").key == KEY
    assert rewritten(make(30))


@pytest.mark.parametrize(
    ("text", "deep"),
    [
        ("[" * 32 + "]" * 32, False),
        ("[" * 33 + "]" * 33, True),
        ('{"a":"' + "[" * 99 + '"}', False),
        ('{"a":"\\"' + "[" * 99 + '"}', False),
        ('{"a":"\\\\",' + '"b":' + "[" * 40, True),
        ("{}\n" + "[" * 99, False),
        ('"' + "[" * 99, False),
        ("[" * 99, True),
        ("[[],[]," * 20, False),
        ("[{}]" * 99, False),
    ],
)
def test_levels_are_counted_outside_of_texts(text: str, deep: bool) -> None:
    assert is_too_deep(text) == deep


@pytest.mark.parametrize(
    "text",
    [
        "a password\n",
        "a password\nurl: https://example.com\nlogin: jon\n",
        '{"user": "jon"}',
        "hunter2\nAKIA is no key id\n",
        f"-\naccess_key: {ID}\nnotes: work\n",
    ],
)
def test_what_another_tool_wrote_is_not_called_damaged(text: str) -> None:
    with pytest.raises(DamagedError, match="cannot be used as an AWS key") as caught:
        parse(text.encode(), "item 'x'")
    assert "damaged" not in caught.value.message
