"""Every prompt, on a real terminal: what is asked, what is echoed, and what a no does."""

from __future__ import annotations

import pytest

from tests.samples import EXAMPLE_ID, OTHER_ID, SECRET
from tests.worlds.aws_machine import SERIAL, AwsMachine
from tests.worlds.in_process import InProcess
from tests.worlds.machine import PASSPHRASE, Machine, ProcessResult, TypedAnswer

LOCKED = {"FILEVAULT_PASSPHRASE": None}


def never_shown(result: ProcessResult, *secrets: str) -> None:
    assert result.echo
    for secret in secrets:
        assert secret not in result.tty
        assert secret not in result.err
        assert secret not in result.out


@pytest.fixture
def jon_vault(machine: Machine) -> Machine:
    machine.with_vault()
    return machine.add("jon", EXAMPLE_ID, SECRET, "--no-config")


def export(machine: Machine, *answers: str) -> ProcessResult:
    return machine.on_terminal(
        "export",
        "jon",
        "-n",
        env=LOCKED,
        answers=[TypedAnswer("Passphrase for", answer) for answer in answers],
    )


def test_the_right_passphrase_opens_at_once(jon_vault: Machine) -> None:
    result = export(jon_vault, PASSPHRASE)
    assert result.status == 0
    assert result.out.startswith(f"AWS_ACCESS_KEY_ID={EXAMPLE_ID}\n")
    assert result.err == ""
    assert result.tty.splitlines() == [f"Passphrase for {jon_vault.vault}: "]
    never_shown(result, PASSPHRASE)


def test_a_wrong_passphrase_may_be_corrected(jon_vault: Machine) -> None:
    result = export(jon_vault, "wrong horse", PASSPHRASE)
    assert result.status == 0
    assert "That passphrase opens nothing here. Try again." in result.tty
    never_shown(result, PASSPHRASE, "wrong horse")


def test_three_wrong_passphrases_are_enough(jon_vault: Machine) -> None:
    result = export(jon_vault, "wrong one", "wrong two", "wrong three")
    assert (result.status, result.out) == (5, "")
    assert "wrong passphrase, 3 times" in result.err
    assert "hint: filevault slot list shows what else opens the vault" in result.err
    assert result.tty.count("Passphrase for") == 3
    never_shown(result, "wrong one", "wrong two", "wrong three")


def test_a_vault_with_key_files_only_asks_for_no_passphrase(machine: Machine) -> None:
    key = str(machine.home / "key")
    machine.ok("init", "--no-passphrase", "--new-key-file", key)
    machine.add("jon", EXAMPLE_ID, SECRET, "--no-config", "--key-file", key)
    inside = InProcess(machine.env)
    for argv in (
        ("export", "jon", "-n"),
        ("unlock",),
        ("slot", "add"),
        ("passphrase",),
        ("rekey",),
    ):
        ended = inside.run(*argv)
        assert (ended.status, ended.out) == (5, ""), ended
        error, hint = ended.err.splitlines()
        assert error == "filevault: error: the vault is opened by a key file, and none is given"
        assert hint.startswith("filevault: hint: give --key-file, or set FILEVAULT_KEY or its")
    result = machine.on_terminal("export", "jon", "-n")
    assert (result.status, result.tty) == (5, "")
    # A passphrase may be what a keyslot that cannot be read is for.
    (machine.vault / ".filevault/slots/0123456789abcdef.slot").write_text("no slot")
    assert "no terminal to ask for the passphrase" in inside.run("export", "jon", "-n").err


def test_no_passphrase_at_all_is_not_tried(jon_vault: Machine) -> None:
    result = export(jon_vault, "")
    assert result.status == 5
    assert "no passphrase was given" in result.err


@pytest.mark.parametrize(
    ("argv", "question"),
    [
        (("export", "jon", "-n"), "Passphrase for"),
        (("exec", "jon", "-n", "--", "true"), "Passphrase for"),
        (("init", "--vault", "new"), "New passphrase"),
    ],
)
def test_ctrl_c_at_a_hidden_prompt_is_130_and_gives_the_echo_back(
    jon_vault: Machine, argv: tuple[str, ...], question: str
) -> None:
    result = jon_vault.on_terminal(*argv, env=LOCKED, answers=[TypedAnswer(question, "\x03")])
    assert (result.status, result.out) == (130, "")
    assert result.err == "filevault: interrupted\n"
    assert result.echo


@pytest.mark.parametrize(
    ("argv", "questions", "status", "said"),
    [
        (("export", "jon", "-n"), ("Passphrase for",), 5, "no passphrase was given"),
        (("exec", "jon", "-n", "true"), ("Passphrase for",), 125, "no passphrase was given"),
        (("init", "--vault", "new"), ("New passphrase",), 5, "no passphrase was given"),
        (("remove", "jon"), ("Delete the key",), 0, "nothing was changed"),
        (("export", "mfa"), ("Passphrase for", "MFA code"), 8, "no MFA code was given"),
        (("--vault", "no", "add", "x", "--no-config"), ("Make one?",), 0, "nothing was changed"),
    ],
)
def test_ctrl_d_is_an_empty_answer(
    jon_vault: Machine, argv: tuple[str, ...], questions: tuple[str, ...], status: int, said: str
) -> None:
    jon_vault.write_config(
        "[profile mfa]\nsource_profile = jon\nregion = eu-west-1\n"
        "role_arn = arn:aws:iam::123456789012:role/x\nmfa_serial = arn:aws:iam::1:mfa/jon\n"
    )
    answers = [TypedAnswer(question, PASSPHRASE) for question in questions[:-1]]
    result = jon_vault.on_terminal(
        *argv, env=LOCKED, answers=[*answers, TypedAnswer(questions[-1], "\x04")]
    )
    assert (result.status, result.out) == (status, "")
    assert said in result.err
    assert result.tty.endswith("\n")
    assert result.echo


def test_a_new_passphrase_is_asked_twice(machine: Machine) -> None:
    answers = [
        TypedAnswer("New passphrase: ", PASSPHRASE),
        TypedAnswer("The same again: ", PASSPHRASE),
    ]
    result = machine.on_terminal("init", answers=answers)
    assert result.status == 0
    assert (machine.vault / ".filevault/vault.json").exists()
    never_shown(result, PASSPHRASE)


def test_new_passphrases_that_differ_are_asked_for_again(machine: Machine) -> None:
    answers = [
        TypedAnswer("New passphrase: ", PASSPHRASE),
        TypedAnswer("The same again: ", "something else"),
        TypedAnswer("New passphrase: ", PASSPHRASE),
        TypedAnswer("The same again: ", PASSPHRASE),
    ]
    result = machine.on_terminal("init", answers=answers)
    assert result.status == 0
    assert "The two are not the same. Try again." in result.tty
    never_shown(result, PASSPHRASE, "something else")


def test_a_short_new_passphrase_is_refused_and_may_be_insisted_on(machine: Machine) -> None:
    answers = [
        TypedAnswer("New passphrase: ", "elevenchars"),
        TypedAnswer("The same again", "elevenchars"),
    ]
    refused = machine.on_terminal("init", answers=answers[:1])
    assert refused.status == 2
    assert "fewer than 12 characters" in refused.err
    assert not machine.vault.exists()
    never_shown(refused, "elevenchars")
    assert machine.on_terminal("init", "--allow-weak", answers=answers).status == 0


def test_a_key_is_typed_with_the_secret_hidden(machine: Machine) -> None:
    machine.with_vault()
    answers = [
        TypedAnswer("Access key id: ", EXAMPLE_ID),
        TypedAnswer("Secret access key: ", SECRET),
    ]
    result = machine.on_terminal("add", "jon", "--no-config", answers=answers)
    assert (result.status, result.out) == (0, "Stored the key of profile jon.\n")
    assert EXAMPLE_ID in result.tty
    never_shown(result, SECRET, PASSPHRASE)
    assert SECRET in machine.ok("export", "jon", "-n").out


def test_a_typed_secret_that_is_none_is_refused_unshown(machine: Machine) -> None:
    machine.with_vault()
    answers = [
        TypedAnswer("Access key id: ", EXAMPLE_ID),
        TypedAnswer("Secret access key: ", "too short"),
    ]
    result = machine.on_terminal("add", "jon", answers=answers)
    assert result.status == 2
    assert "no secret access key" in result.err
    never_shown(result, "too short")
    assert machine.ok("list", "--credentials").out == ""


def test_the_vault_is_opened_before_a_key_is_typed(jon_vault: Machine) -> None:
    wrong = [TypedAnswer("Passphrase for", "wrong")] * 3
    result = jon_vault.on_terminal("add", "new", env=LOCKED, answers=wrong)
    assert result.status == 5
    assert "Access key id" not in result.tty


@pytest.mark.parametrize("answer", ["y", "yes"])
def test_a_key_is_replaced_on_a_yes(jon_vault: Machine, answer: str) -> None:
    answers = [
        TypedAnswer("Replace the key that is stored for jon? (y|N) ", answer),
        TypedAnswer("Access key id: ", OTHER_ID),
        TypedAnswer("Secret access key: ", SECRET),
    ]
    assert jon_vault.on_terminal("add", "jon", "--no-config", answers=answers).status == 0
    assert OTHER_ID in jon_vault.ok("export", "jon", "-n").out


@pytest.mark.parametrize("answer", ["", "n", "what"])
def test_a_key_is_kept_on_anything_else(jon_vault: Machine, answer: str) -> None:
    before = (jon_vault.vault / "jon.fv").read_bytes()
    question = TypedAnswer("Replace the key that is stored for jon? (y|N) ", answer)
    result = jon_vault.on_terminal("add", "jon", answers=[question])
    assert (result.status, result.err) == (0, "filevault: nothing was changed\n")
    assert "Access key id" not in result.tty
    assert (jon_vault.vault / "jon.fv").read_bytes() == before


def test_a_key_is_deleted_on_a_yes_only(jon_vault: Machine) -> None:
    question = "Delete the key of profile jon? (y|N) "
    kept = jon_vault.on_terminal("remove", "jon", answers=[TypedAnswer(question, "n")])
    assert (kept.status, kept.out) == (0, "")
    assert "nothing was changed" in kept.err
    assert (jon_vault.vault / "jon.fv").exists()
    gone = jon_vault.on_terminal("rm", "jon", answers=[TypedAnswer(question, "y")])
    assert (gone.status, gone.out) == (0, "Deleted the key of profile jon.\n")
    assert not (jon_vault.vault / "jon.fv").exists()


def test_add_offers_to_make_the_vault(machine: Machine) -> None:
    answers = [
        TypedAnswer(f"There is no vault at {machine.vault}. Make one? (y|N) ", "y"),
        TypedAnswer("New passphrase: ", PASSPHRASE),
        TypedAnswer("The same again: ", PASSPHRASE),
        TypedAnswer("Access key id: ", EXAMPLE_ID),
        TypedAnswer("Secret access key: ", SECRET),
    ]
    result = machine.on_terminal("add", "jon", "--no-config", answers=answers)
    assert result.status == 0
    assert f"made a vault at {machine.vault}" in result.err
    never_shown(result, PASSPHRASE, SECRET)
    machine.env["FILEVAULT_PASSPHRASE"] = PASSPHRASE
    assert SECRET in machine.ok("export", "jon", "-n").out


def test_the_offer_may_be_declined(machine: Machine) -> None:
    result = machine.on_terminal("add", "jon", answers=[TypedAnswer("Make one? (y|N) ", "")])
    assert (result.status, result.err) == (0, "filevault: nothing was changed\n")
    assert not machine.vault.exists()


def test_an_mfa_code_is_asked_for_with_device_and_profile(scene: AwsMachine) -> None:
    scene.configure(mfa_process=False).store()
    question = f"MFA code of {SERIAL} for jonsmith: "
    result = scene.machine.on_terminal(
        "export", "admin", answers=[TypedAnswer(question, f" {scene.user.totp()} ")]
    )
    assert result.status == 0
    assert question in result.tty
    refused = scene.machine.on_terminal(
        "export", "admin", "--refresh", answers=[TypedAnswer(question, "12345")] * 3
    )
    assert refused.status == 8
    assert "the answer is not a token code of six digits" in refused.err


def damage(machine: Machine) -> bytes:
    item = machine.vault / "jon.fv"
    data = bytearray(item.read_bytes())
    data[-1] ^= 1
    item.write_bytes(data)
    return bytes(data)


def test_a_key_that_cannot_be_opened_is_discarded_on_a_second_yes_only(jon_vault: Machine) -> None:
    damaged = damage(jon_vault)
    replace = TypedAnswer("Replace the key that is stored for jon? (y|N) ", "y")
    kept = jon_vault.on_terminal(
        "add", "jon", answers=[replace, TypedAnswer("Discard it? (y|N) ", "n")]
    )
    assert (kept.status, kept.err) == (0, "filevault: nothing was changed\n")
    assert "is damaged" in kept.tty
    assert (jon_vault.vault / "jon.fv").read_bytes() == damaged
    answers = [
        replace,
        TypedAnswer("Discard it? (y|N) ", "y"),
        TypedAnswer("Access key id: ", OTHER_ID),
        TypedAnswer("Secret access key: ", SECRET),
    ]
    assert jon_vault.on_terminal("add", "jon", "--no-config", answers=answers).status == 0
    assert OTHER_ID in jon_vault.ok("export", "jon", "-n").out


def test_force_discards_nothing_unless_told(jon_vault: Machine) -> None:
    damaged = damage(jon_vault)
    new = f"{OTHER_ID}\n{SECRET}\n"
    refused = jon_vault.run("add", "jon", "--stdin", "--force", stdin=new)
    assert refused.status == 6
    assert "--force --discard" in refused.err
    assert (jon_vault.vault / "jon.fv").read_bytes() == damaged
    jon_vault.ok("add", "jon", "--stdin", "--force", "--discard", "--no-config", stdin=new)
    assert OTHER_ID in jon_vault.ok("export", "jon", "-n").out


@pytest.mark.parametrize(
    ("argv", "hint"),
    [
        (("add", "jon", "--stdin"), "--force replaces it without asking"),
        (("add", "new"), "--env takes it from the environment"),
        (("remove", "jon"), "--force deletes without asking"),
    ],
)
def test_without_a_terminal_a_question_is_an_error_with_its_own_hint(
    jon_vault: Machine, argv: tuple[str, ...], hint: str
) -> None:
    result = jon_vault.run(*argv, stdin=f"{OTHER_ID}\n{SECRET}\n")
    assert result.status == 5
    assert hint in result.err
    assert EXAMPLE_ID in jon_vault.ok("export", "jon", "-n").out


def test_a_path_with_escapes_steers_no_terminal(machine: Machine) -> None:
    odd = machine.home / "v\x1b[31m\u202e"
    machine.env["FILEVAULT_DIR"] = str(odd)
    machine.with_vault().add("jon", EXAMPLE_ID, SECRET, "--no-config")
    result = export(machine, "wrong", "wrong", "wrong")
    assert not {"\x1b", "\u202e"} & set(result.everything)
    assert "v\\x1b[31m\\u202e" in result.tty
