"""The pages and the program say the same."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from filevault import __version__, errors, rare_errors
from filevault.cli.command import ALIASES, COMMANDS, usage
from filevault.cli.parser import Parser, add_global_options, add_session_options
from filevault.config.settings import SETTINGS, SWITCH, GlobalOptions
from filevault.issued.export_formats import FORMATS
from tests import promises

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "README.zh.md",
    ROOT / "CHANGELOG.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
HELP = {"-h", "--help"}


def _page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def _sections(text: str, mark: str) -> dict[str, str]:
    """The text below each heading of a level, by heading."""
    parts = re.split(rf"^{mark} (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


CLI = _sections(_page("docs/reference/cli.md"), "##")


def _rows(text: str) -> list[list[str]]:
    """The cells of every row of every table; `\\|` is no border."""
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in text.splitlines()
        if line.startswith("|") and not set(line) <= set("|- ")
    ]


def _options_told(section: str) -> set[str]:
    return {
        option
        for row in _rows(section)
        for option in re.findall(r"`(-{1,2}[a-z][a-z0-9-]*)[ `]", row[0])
    }


def _options_of(parser: Parser) -> set[str]:
    return {option for action in parser.actions() for option in action.option_strings} - HELP


def _parser(command: str) -> Parser:
    module = import_module(f"filevault.cli.commands.{command}")
    parser = Parser(f"filevault {command}", module.DESCRIPTION)
    module.configure(parser)
    return parser


def _shared(add: object) -> set[str]:
    parser = Parser("filevault", "")
    assert callable(add)
    add(parser)
    return _options_of(parser)


def test_every_command_has_its_section_and_there_are_no_others() -> None:
    told = [title for title in CLI if title in COMMANDS]
    assert told == list(COMMANDS)
    assert set(CLI) - set(COMMANDS) == {"Global options", "Options for sessions"}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_has_exactly_the_options_of_its_section(command: str) -> None:
    told = _options_told(CLI[command])
    if "(#options-for-sessions)" in CLI[command]:
        told |= _options_told(CLI["Options for sessions"])
    assert told == _options_of(_parser(command))


def test_global_and_session_options_are_those_of_their_sections() -> None:
    assert _options_told(CLI["Global options"]) == _shared(add_global_options)
    assert _options_told(CLI["Options for sessions"]) == _shared(add_session_options)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_usage_line_names_what_the_command_takes(command: str) -> None:
    """PROFILE in brackets is one that may be left out; a choice is written out."""
    for action in _parser(command).actions():
        if action.option_strings:
            continue
        for word in action.choices or [str(action.metavar)]:
            wanted = f"[{word}]" if action.nargs == "?" else f" {word}"
            assert wanted in CLI[command]


@pytest.mark.parametrize(("alias", "command"), ALIASES.items())
def test_short_names_are_told(alias: str, command: str) -> None:
    assert f"`{alias}` is `{command}`" in _page("docs/reference/cli.md")


def test_export_formats_are_those_of_the_table() -> None:
    told = [row[0].strip("`") for row in _rows(CLI["export"]) if row[0].startswith("`")]
    assert [name for name in told if not name.startswith("--")] == list(FORMATS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_use_no_option_that_no_command_has(page: Path) -> None:
    known = _shared(add_global_options) | _shared(add_session_options) | HELP
    by_command = {command: _options_of(_parser(command)) | known for command in COMMANDS}
    wrong = []
    for line in page.read_text(encoding="utf-8").splitlines():
        # What follows `filevault COMMAND` up to `--`, a pipe, a backquote or the end.
        for command, rest in re.findall(
            r"filevault ([a-z]+)((?: (?!-- |\||filevault |or )[^\s`]+)*)", line
        ):
            if command in COMMANDS and command != "git":  # whose words are git's
                used = set(re.findall(r"(?<=\s)--?[a-z][a-z0-9-]*", rest))
                wrong += [(command, option) for option in used - by_command[command]]
    assert not wrong


def _names_in_code() -> set[str]:
    """Every text in the program that is the name of a variable."""
    name = re.compile(
        r"(FILEVAULT|AWS|XDG|YKMAN|PASSWORD_STORE|PASSAGE)_[A-Z0-9_]*[A-Z0-9]|GNUPGHOME|GPG_TTY|TMPDIR"
        r"|HOME|PATH|SHELL|(CREDENTIALS|RUNTIME)_DIRECTORY|LISTEN_(FDS|PID)|NOTIFY_SOCKET"
        r"|(WAYLAND_)?DISPLAY|BROWSER|TMUX|STY|TERM|NO_COLOR|SSH_(CONNECTION|CLIENT|TTY)"
        r"|(ACTIONS|BITBUCKET|BUILDKITE|CIRCLE|GITHUB|GITLAB)_[A-Z0-9_]+"
    )
    found = set()
    for path in (*(ROOT / "filevault").rglob("*.py"), *(ROOT / "backends").rglob("*.py")):
        if path.name == "__init__.py" and path.parent.name == "filevault":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            text = node.value if isinstance(node, ast.Constant) else None
            if isinstance(text, str) and name.fullmatch(text):
                found.add(text)
    return found | {"AWS_VAULT"}


SUFFIXES = ("", "_FD", "_FILE", "_COMMAND")
SECRETS = {
    prefix + suffix
    for prefix in (
        "FILEVAULT_PASSPHRASE",
        "FILEVAULT_KEY",
        "FILEVAULT_AGE_IDENTITY",
        "FILEVAULT_NEW_PASSPHRASE",
        "FILEVAULT_SOURCE_PASSPHRASE",
        "FILEVAULT_SOURCE_KEY",
        "FILEVAULT_SOURCE_AGE_IDENTITY",
    )
    for suffix in SUFFIXES
}


def test_every_variable_that_the_program_reads_is_told_and_no_other() -> None:
    text = _page("docs/reference/environment.md")
    told = set(re.findall(r"`\$?([A-Z][A-Z0-9_]+[A-Z0-9])`", text))
    botocores = {
        "HTTPS_PROXY",
        "NO_PROXY",
        "AWS_MAX_ATTEMPTS",
    }
    # pass reads the first, and we say that we do not; the second is left as it is.
    ignored = {"PASSWORD_STORE_UMASK", "AWS_EC2_METADATA_V1_DISABLED"}
    ignored |= {name for name in told if name.startswith("AWS_ENDPOINT_URL_")}
    gits = {name for name in told if name.startswith("GIT_")} | {"SSH_ASKPASS"}
    assert told - botocores - ignored - gits == (_names_in_code() | SECRETS) - ignored


def test_settings_are_told_with_their_precedence() -> None:
    """The table's rows: option, variable, key of config.toml, AWS Vault's variable."""
    rows = {row[0].strip("`"): row[1] for row in _rows(_page("docs/reference/environment.md"))}
    config = _page("docs/reference/config.md")
    for setting in SETTINGS:
        assert f"`--{setting.option.replace('_', '-')}`" in rows[setting.variable]
        assert ("switch" in rows[setting.variable]) == (setting.type == SWITCH)
        assert setting.config_key is None or f"`{setting.config_key}`" in config
        if setting.aws_vault is not None:
            assert "config.toml" in rows[setting.aws_vault] or "nothing" in rows[setting.aws_vault]


def test_which_variables_git_does_not_get_is_told_completely() -> None:
    from filevault.git import environment as of_git

    section = _sections(_page("docs/reference/environment.md"), "##")["git"]
    _, dropped, relative = (
        set(re.findall(r"`([A-Z_0-9]+)`", part)) for part in section.split("**Dropped")
    )
    assert dropped == of_git.DROPPED | set(of_git.DROPPED_PREFIXES)
    assert relative == of_git.FILES | of_git.COMMANDS


def test_variables_of_the_other_pages_exist() -> None:
    known = set(re.findall(r"[A-Z][A-Z0-9_]+", _page("docs/reference/environment.md")))
    wrong = {
        (page.name, name)
        for page in PAGES
        for name in re.findall(r"\bFILEVAULT_[A-Z_]*[A-Z]", page.read_text(encoding="utf-8"))
        if name not in known
    }
    assert not wrong


def _told(section: str) -> set[str]:
    return set(re.findall(r"`((?:AWS|FILEVAULT)_[A-Z0-9_]+\*?)`", section))


def test_what_the_command_loses_and_gets_is_told_completely() -> None:
    from filevault.config.aws_variables import MARKER, SETTING, VARIABLES

    page = _page("docs/reference/environment.md")
    removed, _, rest = page.partition("**Removed**, because each")[2].partition("**Removed**")
    rest, _, given = rest.partition("**Set:**")
    assert _told(removed) == {each.name for each in VARIABLES if each.inherited != SETTING}
    empty = rest.partition("**Removed where empty**")[2].partition("**Kept**")[0]
    assert _told(empty) == {each.name for each in VARIABLES if each.inherited == SETTING}
    table = "".join(row[0] for row in _rows(given) if row[0].startswith("`"))
    assert _told(table) == {each.name for each in VARIABLES if each.carries} | {
        "AWS_VAULT",
        "AWS_EC2_METADATA_DISABLED",
        "AWS_EC2_METADATA_V1_DISABLED",
        "AWS_SHARED_CREDENTIALS_FILE",
        "AWS_CREDENTIAL_PROFILES_FILE",
        "AWS_SDK_LOAD_CONFIG",
        MARKER,
    }


def test_keys_of_config_toml_are_those_of_the_page() -> None:
    from filevault.config.config_toml import ConfigFile

    section = _sections(_page("docs/reference/config.md"), "##")["config.toml"]
    told = {row[0].strip("`") for row in _rows(section) if row[0].startswith("`")}
    assert told == set(ConfigFile._fields) - {"path"}


def test_what_default_hands_down_is_told() -> None:
    from filevault.config import inheritance

    rows = _rows(_sections(_page("docs/reference/config.md"), "###")["Keys of a profile"])
    told = {row[0].strip("`") for row in rows if row[2] == "yes"}
    assert told == set(inheritance._HANDED_DOWN)


def test_what_names_a_session_is_told() -> None:
    from filevault.aws.endpoint import Endpoint
    from filevault.calls.assume_role import AssumeRole
    from filevault.calls.get_session_token import SessionToken
    from filevault.sources.stored import StoredKey

    section = _sections(_page("docs/format.md"), "##")["7. Sessions and the session key"]
    told = re.findall(r"`(\w+)`", section.partition("The names are")[2].partition("; what")[0])
    endpoint = Endpoint("eu-west-1")
    session = SessionToken("p", StoredKey("p"), 900, endpoint)
    role = AssumeRole("p", session, "arn", 900, endpoint)
    assert set(told[:8]) == set(session.request_identity(""))
    assert set(told) == set(role.request_identity(""))


def _error_classes() -> dict[str, int]:
    return {
        name: value.exit_status
        for name, value in {**vars(errors), **vars(rare_errors)}.items()
        if isinstance(value, type) and issubclass(value, errors.FilevaultError)
    }


def test_exit_statuses_are_those_of_the_errors() -> None:
    rows = _rows(_page("docs/reference/exit-status.md"))
    told = {row[2].strip("`"): int(row[0]) for row in rows if row[2].startswith("`")}
    assert told == _error_classes()


def test_the_tree_of_errors_in_their_module_is_the_real_one() -> None:
    tree = ast.get_docstring(ast.parse(_page("filevault/errors.py"))) or ""
    drawn: dict[str, tuple[int, str]] = {}
    above: list[str] = []
    for line in tree.splitlines():
        match = re.match(r"([│├└─ ]*)(\w+Error) +(\d+)?", line)
        if match is None:
            continue
        depth = len(match[1]) // 3
        above[depth:] = [match[2]]
        drawn[match[2]] = (int(match[3] or 0), above[depth - 1] if depth else "Exception")
    real = {
        name: (status, getattr(errors, name).__base__.__name__)
        for name, status in _error_classes().items()
    }
    assert set(drawn) == set(real)
    for name, (status, parent) in drawn.items():
        assert parent == real[name][1], name
        assert status in (0, real[name][0]), name


def test_every_global_option_can_be_told_apart_from_its_settings() -> None:
    parser = Parser("filevault", "")
    add_global_options(parser)
    assert {action.dest for action in parser.actions()} - {"help", "version"} == set(
        GlobalOptions._fields
    )


def test_the_help_shown_in_the_readme_is_the_real_one() -> None:
    block = re.search(r"```console\n\$ filevault --help\n(.*?)```", _page("README.md"), re.DOTALL)
    assert block is not None
    assert block[1] == usage()
    done = subprocess.run(
        [sys.executable, "-m", "filevault", "--help"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout == block[1]


CODE = re.compile(r"^```[^\n]*\n.*?^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    ("part", "pattern"),
    [
        ("blocks of code", CODE),
        ("commands and names", re.compile(r"`[^`\n]+`")),
        ("links", re.compile(r"(?<=\]\()[^)\s]+")),
        ("headings", re.compile(r"^#+(?= )", re.MULTILINE)),
        ("rows of tables", re.compile(r"^\|(?= )", re.MULTILINE)),
        ("items of lists", re.compile(r"^- ", re.MULTILINE)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_chinese_readme_has_what_the_english_one_has(
    part: str, pattern: re.Pattern[str]
) -> None:
    english, chinese = _page("README.md"), _page("README.zh.md")
    if pattern is not CODE:
        english, chinese = _without_code(english), _without_code(chinese)
    language = {"README.md": "README.zh.md"}
    found = [language.get(each, each) for each in pattern.findall(chinese)]
    assert sorted(found) == sorted(pattern.findall(english)), part


def test_the_chinese_readme_has_chinese_paragraphs() -> None:
    """A paragraph that was added in English alone is not left in English there."""
    text = re.sub(r"`[^`\n]*`|\]\([^)]*\)", "", _without_code(_page("README.zh.md")))
    prose = [line for line in text.splitlines() if len(re.findall(r"[A-Za-z]{2,}", line)) > 3]
    assert [line for line in prose if not re.search(r"[\u4e00-\u9fff]", line)] == []


def test_the_pages_on_installation_name_this_version_and_its_needs() -> None:
    project = tomllib.loads(_page("pyproject.toml"))["project"]
    install = _page("docs/how-to/install.md")
    pages = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    names = set(re.findall(r"filevault_aws-([\d.]+\d)", pages))
    assert names == {__version__}
    assert f"$ filevault --version\nfilevault {__version__}\n" in install
    oldest = project["requires-python"].removeprefix(">=")
    for page in (install, _page("README.md"), _page("README.zh.md")):
        assert f"Python {oldest}" in page
    (image,) = re.findall(r"FROM python:([\d.]+)-slim", install)
    assert f"Programming Language :: Python :: {image}" in project["classifiers"]
    assert len(project["dependencies"]) == 5
    assert f"Python {oldest} and five libraries" in _page("README.md")


def test_the_readme_tells_how_to_look_and_how_to_test() -> None:
    text = _page("README.md")
    assert "make demo" in text
    assert "make test" in text


def _slug(heading: str) -> str:
    """The anchor that GitHub makes of a heading."""
    plain = re.sub(r"[`*]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)).lower()
    return re.sub(r"[^\w\- ]", "", plain).strip().replace(" ", "-")


def _without_code(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_within_the_pages_lead_somewhere(page: Path) -> None:
    lost = []
    text = re.sub(r"`[^`\n]*`", "", _without_code(page.read_text(encoding="utf-8")))
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _hash, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists():
            lost.append(link)
        elif anchor:
            content = _without_code(target.read_text(encoding="utf-8"))
            anchors = {_slug(line) for line in re.findall(r"^#+ (.+)$", content, re.MULTILINE)}
            if anchor not in anchors:
                lost.append(link)
    assert not lost


@pytest.mark.parametrize("index", [ROOT / "docs" / "index.md", ROOT / "README.md"])
def test_every_page_is_reached_from_both_lists(index: Path) -> None:
    linked = {
        (index.parent / link.partition("#")[0]).resolve()
        for link in re.findall(r"\]\(([^)\s]+)\)", index.read_text(encoding="utf-8"))
    }
    index_page = ROOT / "docs" / "index.md"
    assert {page for page in PAGES if page.is_relative_to(ROOT / "docs")} - {index_page} <= linked


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_table_is_cut_in_two(page: Path) -> None:
    """A blank line ends a table, and the rows behind it are shown as text."""
    text = _without_code(page.read_text(encoding="utf-8"))
    assert not re.findall(r"^\|.*\n\n(?=\|.*\n(?!\|[ :|-]+\n))", text, re.MULTILINE)


def test_the_table_of_promises_is_that_of_its_source() -> None:
    """`python -m tests.promises` writes it; it fails where a test is not there."""
    assert promises.PAGE.read_text(encoding="utf-8") == promises.render()


@pytest.mark.parametrize("group", promises.groups(), ids=lambda group: group.title)
def test_a_group_of_promises_is_linked_where_it_is_stated(group: promises.Group) -> None:
    name, _hash, anchor = group.page.partition("#")
    sections = re.split(r"^(?=#+ )", _page(name), flags=re.MULTILINE)
    section = next(each for each in sections if _slug(each.partition("\n")[0]) == anchor)
    assert f"promises.md#{_slug(group.title)})" in section
    assert all(sentence.endswith(".") and tests for sentence, *tests in group.rows)


def test_every_promise_of_the_security_policy_has_its_tests() -> None:
    section = _sections(_page("SECURITY.md"), "##")["What is promised"]
    stated = re.split(r"^\d+\. ", section.partition("A breach of")[0], flags=re.MULTILINE)[1:]
    known = {_slug(group.title) for group in promises.groups()}
    links = [re.findall(r"promises\.md#([\w-]+)\)", promise) for promise in stated]
    assert len(links) == 5
    assert all(len(link) == 1 and link[0] in known for link in links)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_names_of_tests_stand_in_their_table_alone(page: Path) -> None:
    if page != promises.PAGE:
        assert re.findall(r"\btest_\w+\.py::|::test_\w+", page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_of_the_tree_that_pages_name_exist(page: Path) -> None:
    named = re.findall(
        r"`((?:filevault|backends|tests|docs)/[\w./-]+(?:\.\w+|/))`",
        page.read_text(encoding="utf-8"),
    )
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_names_in_code_that_the_glossary_has_exist() -> None:
    named = re.findall(r"In code `(\w+)`", _page("docs/contributing/glossary.md"))
    files = [*(ROOT / "filevault").rglob("*.py"), *(ROOT / "backends").rglob("*.py")]
    defined = {
        name for path in files for name in re.findall(r"class (\w+)", path.read_text("utf-8"))
    }
    assert len(named) > 5
    assert set(named) <= defined


# The words of the glossary's last table that never fit; the others depend on their meaning.
UNUSED = {
    *("anew", "for good", "hand out", "hand over", "handout", "lest", "nobody", "patience"),
    *("shall", "somebody", "trouble", "twin", "whether or not", "whoever"),
}


def test_no_page_and_no_module_has_a_word_that_the_glossary_replaces() -> None:
    glossary = ROOT / "docs/contributing/glossary.md"
    rows = _rows(_page("docs/contributing/glossary.md").partition("## Words that are not used")[2])
    assert {word.strip() for row in rows for word in row[0].split(",")} >= UNUSED
    pages = {*PAGES, *(ROOT / "docs/man").iterdir()} - {glossary, ROOT / "CHANGELOG.md"}
    modules = [*(ROOT / "filevault").rglob("*.py"), *(ROOT / "backends").rglob("*.py")]
    # The user `nobody` stands in backticks.
    words = re.compile(rf"(?<!`)\b(?:{'|'.join(sorted(UNUSED))})\b", re.IGNORECASE)
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in sorted({*pages, *modules})
        for match in words.finditer(path.read_text("utf-8"))
    ]
    assert found == []


def test_every_dependency_has_its_reason() -> None:
    settings = tomllib.loads(_page("pyproject.toml"))
    project = settings["project"]
    wanted = {
        re.split(r"[\[<>=!~; ]", entry)[0]
        for entries in (
            project["dependencies"],
            *project["optional-dependencies"].values(),
            settings["build-system"]["requires"],
        )
        for entry in entries
    } - {"filevault-aws"}
    rows = _rows(_page("docs/dependencies.md"))
    told = {row[0].strip("`"): row[1] for row in rows if row[0].startswith("`")}
    assert set(told) == wanted
    assert all(reason.endswith(".") for reason in told.values())


def test_the_table_of_layers_is_the_one_that_is_checked() -> None:
    contracts = tomllib.loads(_page("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    _main, *layers = (re.findall(r"\w+", line) for line in contracts[0]["layers"])
    section = _sections(_page("docs/explanation/architecture.md"), "##")["Layers"]
    assert [re.findall(r"`(\w+)`", row[1]) for row in _rows(section)[1:]] == layers
