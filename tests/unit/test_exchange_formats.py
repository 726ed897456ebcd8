"""Other tools' formats: what is found in a text, what is left out, and what an edit leaves."""

from __future__ import annotations

import time

import pytest

from filevault.credentials import AccessKey
from filevault.errors import FilevaultError, UsageError
from filevault.exchange import aws_files
from filevault.exchange.clear_copies import decode
from filevault.exchange.formats import FILE_FORMATS, recognised
from filevault.exchange.found_keys import Contents
from tests.samples import (
    EXAMPLE_ID,
    EXAMPLE_SESSION_ID,
    KEY_ID,
    OTHER_SECRET,
    SECOND_ID,
    SECRET,
)

ONE = AccessKey(KEY_ID, SECRET)
TWO = AccessKey(SECOND_ID, OTHER_SECRET)
PAIR = f"aws_access_key_id = {KEY_ID}\naws_secret_access_key = {SECRET}\n"
OTHER_PAIR = f"aws_access_key_id={SECOND_ID}\naws_secret_access_key={OTHER_SECRET}\n"
TEMPORARY = (
    f"aws_access_key_id = {EXAMPLE_SESSION_ID}\naws_secret_access_key = {SECRET}\n"
    "aws_session_token = token\n"
)


def found(text: str, path: str = "file") -> Contents:
    """Return what a text has, read in the format that is recognised."""
    file_format = recognised(text)
    assert file_format is not None
    return file_format.read(text, path)


# A text, its format, and the keys by name.
TEXTS: dict[str, tuple[str, str, dict[str, AccessKey]]] = {
    "credentials": (f"[default]\n{PAIR}[work]\n{OTHER_PAIR}", "aws", {"default": ONE, "work": TWO}),
    "config": (f"[profile work]\n{PAIR}region = x\n", "aws", {"work": ONE}),
    "quoted": (f'[profile "our team"]\n{PAIR}', "aws", {"our team": ONE}),
    "crlf": (f"[a]\n{PAIR}".replace("\n", "\r\n"), "aws", {"a": ONE}),
    "no end": (f"[a]\n{PAIR}".rstrip("\n"), "aws", {"a": ONE}),
    "upper": (f"[a]\n{PAIR.upper().replace(SECRET.upper(), SECRET)}", "aws", {"a": ONE}),
    "aws-mfa": (f"[x-long-term]\n{PAIR}[x]\n{TEMPORARY}", "aws", {"x": ONE}),
    "awsume": (f"[x]\n{PAIR}[autoawsume-x]\n{TEMPORARY}autoawsume = true\n", "aws", {"x": ONE}),
    "csv": (
        f"User name,Access key ID,Secret access key\nann,{KEY_ID},{SECRET}\n",
        "csv",
        {"ann": ONE},
    ),
    "csv of old": (
        ("User name,Password,Access key ID,Secret access key,Console login link\r\n"
        f'ann,,{KEY_ID},{SECRET},https://x\r\n"bo, b",,{SECOND_ID},{OTHER_SECRET},https://x\r\n'),
        "csv",
        {"ann": ONE, "bo, b": TWO},
    ),
    "csv without names": (
        f"Access key ID,Secret access key\r\n{KEY_ID},{SECRET}", "csv", {"": ONE}
    ),
    "sh": (f"export AWS_ACCESS_KEY_ID={KEY_ID}\nexport AWS_SECRET_ACCESS_KEY='{SECRET}'\n", "env",
           {"": ONE}),
    "env file": (
        (f"A=b\nAWS_PROFILE=work\nAWS_ACCESS_KEY_ID={KEY_ID} # mine\n"
        f'AWS_SECRET_ACCESS_KEY="{SECRET}"\n'),
        "env",
        {"work": ONE},
    ),
    "fish": (
        f"set -gx AWS_ACCESS_KEY_ID {KEY_ID};\nset -gx AWS_SECRET_ACCESS_KEY {SECRET};\n",
        "env",
        {"": ONE},
    ),
    "csh": (f"setenv AWS_ACCESS_KEY_ID {KEY_ID}\nsetenv AWS_SECRET_ACCESS_KEY {SECRET}\n", "env",
            {"": ONE}),
    "powershell": (
        f'$Env:AWS_ACCESS_KEY_ID="{KEY_ID}"\n$Env:AWS_SECRET_ACCESS_KEY="{SECRET}"\n',
        "env",
        {"": ONE},
    ),
    "cmd": (f"SET AWS_ACCESS_KEY_ID={KEY_ID}\r\nSET AWS_SECRET_ACCESS_KEY={SECRET}\r\n", "env",
            {"": ONE}),
    "two in sh": (
        (f"AWS_PROFILE=a\nAWS_ACCESS_KEY_ID={KEY_ID}\nAWS_SECRET_ACCESS_KEY={SECRET}\n"
        f"AWS_ACCESS_KEY_ID={SECOND_ID}\nAWS_SECRET_ACCESS_KEY={OTHER_SECRET}\n"),
        "env",
        {"a": ONE, "": TWO},
    ),
    "json": (
        ('{"AccessKey": {"UserName": "ann", "Status": "Active", '
        f'"AccessKeyId": "{KEY_ID}", "SecretAccessKey": "{SECRET}"}}}}'),
        "json",
        {"ann": ONE},
    ),
    "process": (
        f'{{"Version": 1, "AccessKeyId": "{KEY_ID}", "SecretAccessKey": "{SECRET}"}}',
        "json",
        {"": ONE},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_is_recognised_and_its_keys_are_found(name: str) -> None:
    text, file_format, keys = TEXTS[name]
    recognised_as = recognised(text)
    assert recognised_as is not None
    assert recognised_as.name == file_format
    assert {each.name: each.key for each in found(text).keys} == keys


@pytest.mark.parametrize("name", TEXTS)
def test_a_key_that_is_taken_out_is_found_no_more(name: str) -> None:
    text, file_format, keys = TEXTS[name]
    entries = {(each, key) for each, key in keys.items() if key == ONE}
    after = FILE_FORMATS[file_format].without(text, "file", entries)
    assert KEY_ID not in after
    assert SECRET not in after.replace(TEMPORARY, "")
    left = FILE_FORMATS[file_format].read(after, "file").keys if after.strip("\r\n") else ()
    assert {each.key for each in left} == set(keys.values()) - {ONE}


def test_every_other_byte_stays_in_an_edited_file() -> None:
    """What an edit leaves is the text without exactly the two lines."""
    lines = [
        "# mine\r\n", "\n", "[default]  ; a comment\n", "region=eu-west-1\n",
        f"  aws_access_key_id={KEY_ID}\n", "# aws_session_token = none\n",
        f"aws_secret_access_key   =   {SECRET}   \r\n", "s3 =\n", "  max = 1\n", "\t\n",
        "[work]\n", OTHER_PAIR, "[x]\n", TEMPORARY, "# the end",
    ]  # fmt: skip
    text = "".join(lines)
    text = text.replace("  aws_access_key_id", "aws_access_key_id")
    kept = [line for line in lines if KEY_ID not in line and f"   {SECRET}" not in line]
    assert FILE_FORMATS["aws"].without(text, "file", {("default", ONE)}) == "".join(kept)
    assert FILE_FORMATS["aws"].without(text, "file", set()) == text


def test_the_same_key_under_another_name_stays() -> None:
    text = f"[a]\n{PAIR}[b]\n{PAIR}[a-long-term]\n{PAIR}"
    after = FILE_FORMATS["aws"].without(text, "file", {("a", ONE)})
    assert after == f"[b]\n{PAIR}"


EMPTIED = {
    "alone": (f"[a]\n{PAIR}", ""),
    "blank lines": (f"\n\n[a]\n\n{PAIR}\n\n", ""),
    "no line end": (f"[a]\n{PAIR}".rstrip("\n"), ""),
    "first": (f"[a]\n{PAIR}\n[x]\nregion = r\n", "[x]\nregion = r\n"),
    "between": (f"[x]\nregion = r\n\n[a]\n{PAIR}\n[y]\nk = v\n", "[x]\nregion = r\n\n[y]\nk = v\n"),
    "last": (f"[x]\nregion = r\n\n[a]\n{PAIR}\n", "[x]\nregion = r\n"),
    "below another empty one": (f"# c\n\n[b]\n{PAIR}\n[a]\n{PAIR}", "# c\n"),
    "dos": (f"[x]\nk = v\n\n[a]\n{PAIR}".replace("\n", "\r\n"), "[x]\r\nk = v\r\n"),
    "default": (f"[default]\n{PAIR}[x]\nk = v\n", "[x]\nk = v\n"),
    "empty before": (f"[x]\n[a]\n{PAIR}", "[x]\n"),
    "a comment in it": (f"[a]\n{PAIR}# mine\n", "[a]\n# mine\n"),
    "a comment between": (f"[a]\n; mine\n{PAIR}", "[a]\n; mine\n"),
    "a comment in the header's line": (f"[a] ; mine\n{PAIR}", "[a] ; mine\n"),
    "a comment above": (f"# Ann's\n[a]\n{PAIR}[x]\nk = v\n", "# Ann's\n[a]\n[x]\nk = v\n"),
    "a comment further above": (f"# all\n\n[a]\n{PAIR}", "# all\n"),
    "another setting": (f"[a]\nregion = r\n{PAIR}", "[a]\nregion = r\n"),
    "a nested setting": (f"[a]\n{PAIR}s3 =\n  k = v\n", "[a]\ns3 =\n  k = v\n"),
    "a setting of DEFAULT": (f"[DEFAULT]\nregion = r\n[a]\n{PAIR}", "[DEFAULT]\nregion = r\n[a]\n"),
    "a section of a config": (f"[profile a]\n{PAIR}", "[profile a]\n"),
    "another key": (f"[a]\n{OTHER_PAIR}[b]\n{PAIR}", f"[a]\n{OTHER_PAIR}"),
}  # fmt: skip


@pytest.mark.parametrize("name", EMPTIED)
def test_a_section_that_had_nothing_but_its_key_goes_with_its_header(name: str) -> None:
    text, left = EMPTIED[name]
    aws = FILE_FORMATS["aws"]
    entries = {(each, ONE) for each in ("a", "b", "default")}
    assert aws.without(text, "file", entries) == left
    assert aws_files.CONFIG.without(text, "file", entries).count("[") == text.count("[")


def test_a_row_with_a_console_password_stays() -> None:
    text = (
        "User name,Password,Access key ID,Secret access key\n"
        f"ann,hunter2,{KEY_ID},{SECRET}\nbob,,{SECOND_ID},{OTHER_SECRET}\n"
    )
    csv = FILE_FORMATS["csv"]
    assert csv.without(text, "file", {("ann", ONE), ("bob", TWO)}) == text.replace(
        f"bob,,{SECOND_ID},{OTHER_SECRET}\n", ""
    )
    assert "password" in csv.read(text, "file").keys[0].note


@pytest.mark.parametrize("column", ["Notes", "Password", ""])
def test_a_row_with_anything_beside_its_key_stays(column: str) -> None:
    head = f"User name,Access key ID,Secret access key{column and ','}{column}\n"
    text = f"{head}ann,{KEY_ID},{SECRET},precious\nbob,{SECOND_ID},{OTHER_SECRET},\n"
    after = FILE_FORMATS["csv"].without(text, "file", {("ann", ONE), ("bob", TWO)})
    assert after == f"{head}ann,{KEY_ID},{SECRET},precious\n"


JSON_PAIR = f'"AccessKeyId": "{KEY_ID}", "SecretAccessKey": "{SECRET}"'


@pytest.mark.parametrize(
    "text",
    [
        f'{{{JSON_PAIR}, "DatabasePassword": "precious"}}',
        f'{{"AccessKey": {{{JSON_PAIR}}}, "other": "precious"}}',
        f'{{"AccessKey": {{{JSON_PAIR}, "other": "precious"}}}}',
    ],
)
def test_a_json_file_with_more_than_a_key_is_not_deleted(text: str) -> None:
    with pytest.raises(UsageError, match="other values") as caught:
        FILE_FORMATS["json"].without(text, "file", {("", ONE)})
    assert "precious" not in f"{caught.value.message}{caught.value.hint}"


def test_json_with_two_members_of_one_name_is_refused() -> None:
    text = f'{{{JSON_PAIR}, "SecretAccessKey": "{OTHER_SECRET}"}}'
    with pytest.raises(UsageError, match="not valid JSON"):
        FILE_FORMATS["json"].read(text, "file")


def test_settings_beside_a_key_come_with_it() -> None:
    (one,) = found(f"[a]\n{PAIR}region = eu-west-1\nmfa_serial = arn:aws:iam::1:mfa/a\n").keys
    assert (one.region, one.mfa_serial) == ("eu-west-1", "arn:aws:iam::1:mfa/a")
    (one,) = found(f"[a-long-term]\n{PAIR}aws_mfa_device = arn:aws:iam::1:mfa/a\n").keys
    assert (one.name, one.mfa_serial) == ("a", "arn:aws:iam::1:mfa/a")
    (one,) = found(f"[a]\n{PAIR}region = e\x1b[31m\n").keys
    assert one.region is None
    text = TEXTS["json"][0].replace(
        '"Status"', '"CreateDate": "2026-01-02T03:04:05+00:00", "Status"'
    )
    assert found(text).keys[0].created == "2026-01-02T03:04:05Z"


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("ann_accessKeys.csv", "ann"),
        ("/x/jon.smith_accessKeys (1).csv", "jon.smith"),
        ("accessKeys.csv", ""),
        ("rootkey.csv", ""),
    ],
)
def test_the_name_that_the_console_gives_a_file_names_the_profile(file: str, name: str) -> None:
    assert found(TEXTS["csv without names"][0], file).keys[0].name == name


# A text, and the reason why nothing of it is imported.
LEFT_OUT = {
    "temporary": (f"[x]\n{TEMPORARY}", "temporary"),
    "temporary by id": (
        f"[x]\naws_access_key_id = {EXAMPLE_SESSION_ID}\naws_secret_access_key = {SECRET}\n",
        "temporary",
    ),
    "old token": (f"[x]\n{PAIR}aws_security_token = t\n", "temporary"),
    "half": (f"[x]\naws_access_key_id = {KEY_ID}\n", "no secret access key"),
    "other half": (f"[x]\naws_secret_access_key = {SECRET}\n", "no access key id"),
    "swapped": (
        f"[x]\naws_access_key_id = {SECRET}\naws_secret_access_key = {KEY_ID}\n", "looks like"
    ),
    "over two lines": (
        f"[x]\naws_access_key_id={KEY_ID}\naws_secret_access_key={SECRET[:20]}\n  {SECRET[20:]}\n",
        "no secret access key",
    ),
    "for all": (f"[DEFAULT]\n{PAIR}[x]\nregion = y\n", "every section"),
    "temporary in sh": (
        (f"export AWS_ACCESS_KEY_ID={KEY_ID} AWS\nexport AWS_ACCESS_KEY_ID={KEY_ID}\n"
        f"export AWS_SECRET_ACCESS_KEY={SECRET}\nexport AWS_SESSION_TOKEN=t\n"),
        "temporary",
    ),
    "expansion": (
        f"export AWS_ACCESS_KEY_ID={KEY_ID}\nexport AWS_SECRET_ACCESS_KEY=$(cat secret)\n",
        "not run",
    ),
    "json session": (
        f'{{"AccessKeyId": "{KEY_ID}", "SecretAccessKey": "{SECRET}", "SessionToken": "t"}}',
        "temporary",
    ),
    "inactive": (TEXTS["json"][0].replace('"Active"', '"Inactive"'), "inactive"),
    "user without key": ("User name,Access key ID,Secret access key\nann,,\n", "without an access"),
}  # fmt: skip


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_is_no_long_term_key_is_left_out_and_named(name: str) -> None:
    text, reason = LEFT_OUT[name]
    contents = found(text)
    assert contents.keys == ()
    (left,) = contents.left_out
    assert reason in left.reason
    assert SECRET not in repr(contents)


# What is refused as a whole, each with a part of the message.
REFUSED = {
    "duplicate section": (f"[x]\n{PAIR}[x]\n{OTHER_PAIR}", "a second time"),
    "duplicate key": (f"[x]\n{PAIR}{PAIR}", "a second time"),
    "no line": (f"[x]\n{PAIR}{SECRET}\n", "is neither"),
    "deep json": ('{"a":' * 5000, "too deeply"),
    "damaged json": (f'{{"SecretAccessKey": "{SECRET}', "not valid JSON"),
    "json without": ('{"a": 1}', "without AccessKeyId"),
    "csv columns twice": (
        f"Access key ID,Secret access key,Access key ID\n{KEY_ID},{SECRET},x\n", "is not a CSV"
    ),
    "damaged csv": (f'Access key ID,Secret access key\n{KEY_ID},"{SECRET}\n', "damaged CSV"),
    "wide csv": (
        f"Access key ID,Secret access key\n{KEY_ID},{SECRET},{'x' * 200_000}\n", "damaged CSV"
    ),
    "many rows": (
        "Access key ID,Secret access key\n" + f"{KEY_ID},{SECRET}\n" * 20_001, "more than 20000"
    ),
    "many sections": ("".join(f"[s{n}]\n{PAIR}" for n in range(20_001)), "more than 20000"),
    "many lines": (
        f"AWS_ACCESS_KEY_ID={KEY_ID}\nAWS_SECRET_ACCESS_KEY={SECRET}\n" * 20_002, "more than 20000"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_damaged_text_is_refused_in_one_line_without_its_secret(name: str) -> None:
    text, message = REFUSED[name]
    start = time.process_time()
    with pytest.raises(FilevaultError, match=message) as refused:
        found(text)
    assert time.process_time() - start < 5
    assert SECRET not in refused.value.message
    assert refused.value.__cause__ is None or SECRET not in str(refused.value.__cause__)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (f"[x]\n{PAIR}".encode("utf-16"), "UTF-16"),
        (b"[x]\n\xff\xfe\n", "not UTF-8"),
        (b"[" * ((4 << 20) + 1), "longer than"),
    ],
)
def test_other_encodings_and_huge_files_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(FilevaultError, match=message):
        decode(data, "file")


def test_the_byte_order_mark_of_the_console_is_no_part_of_a_name() -> None:
    text = decode(b"\xef\xbb\xbf" + TEXTS["csv"][0].encode(), "file")
    assert found(text).keys[0].name == "ann"


@pytest.mark.parametrize(
    "text", ["", "\n", "hello\n", "a,b,c\n1,2,3\n", "[", "]", "AKIA\nsecret\n", EXAMPLE_ID, "\x00"]
)
def test_other_texts_are_no_format(text: str) -> None:
    assert recognised(text) is None


def test_a_lone_carriage_return_is_no_line_that_could_be_edited() -> None:
    with pytest.raises(FilevaultError, match="carriage return"):
        FILE_FORMATS["aws"].without(f"[x]\r{PAIR}", "file", {("x", ONE)})
