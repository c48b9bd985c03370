from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from aimds.cli import policy
from aimds.errors import ConfigError, DataError
from aimds.printable import hidden


def run(*arguments: object) -> Result:
    app = typer.Typer()
    policy.register(app)

    @app.command()
    def other() -> None:
        """A second command, so that the group keeps its name."""

    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_good_file_is_ok_and_shows_its_version(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('format = 1\nversion = "7"\n')
    result = run("policy", "check", tmp_path / "mine.toml")
    assert result.exit_code == 0
    assert "ok, version 7+" in result.stdout


def test_bad_file_raises_an_error_that_names_the_key(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('format = 1\nversion = "7"\nmode = "off"\n')
    error = run("policy", "check", tmp_path / "mine.toml").exception
    assert isinstance(error, ConfigError)
    assert error.key == "mode"


def test_shipped_policy_is_shown_with_its_thresholds_and_steps() -> None:
    result = run("policy", "show")
    assert result.exit_code == 0
    for word in ("document", "0.001", "0.01", "harmful score", "EMAIL", "block: audit → refuse"):
        assert word in result.stdout


def test_json_holds_tenants_and_rules(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        'format = 1\nversion = "7"\n[tenants."[b]x"]\nmode = "shadow"\n'
        '[[rules]]\neffect = "deny"\nthreat = "jailbreak"\nreason = "never"\n'
    )
    content = json.loads(run("policy", "show", tmp_path / "mine.toml", "--json").stdout)
    assert content["tenants"]["[b]x"]["shadow"] is True
    assert content["rules"][0]["deny"] is True
    shown = run("policy", "show", tmp_path / "mine.toml").stdout
    assert "[b]x" in shown
    assert "deny threat jailbreak: never" in shown


def test_control_characters_in_a_policy_stay_off_the_terminal(tmp_path: Path) -> None:
    file = tmp_path / "\x1b[35mmine.toml"
    file.write_text(
        'format = 1\nversion = "7\\u001b[31m"\n[tenants."\\u001b[32mx"]\nmode = "shadow"\n'
        '[[rules]]\neffect = "deny"\ntenant = "\\u202ey"\nreason = "\\u001b[33mnever"\n'
    )
    shown = run("policy", "show", file).stdout + run("policy", "check", file).stdout
    for word in ("7⟨U+001B⟩[31m", "⟨U+001B⟩[32mx", "⟨U+001B⟩[33mnever", "⟨U+202E⟩y", "⟨U+001B⟩[35mmine.toml"):
        assert word in shown
    assert not [c for c in shown if hidden(c)]


@pytest.mark.parametrize("command", ["check", "show"])
@pytest.mark.parametrize("content", ["a=" + "[" * 5000, ".".join("a" * 5000) + "=1"])
def test_values_nested_too_deep_are_an_error_that_names_the_file(tmp_path: Path, content: str, command: str) -> None:
    (tmp_path / "deep.toml").write_text(f'{content}\nformat = 1\nversion = "7"\n')
    error = run("policy", command, tmp_path / "deep.toml").exception
    assert isinstance(error, DataError)
    assert "deep.toml" in str(error)


def test_allowlist_failures_of_single_detectors_and_sessions_are_shown(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        'format = 1\nversion = "7"\n[failure]\nmode = "closed"\naction = "flag"\n[failure.detectors.pii]\nmode = "open"\n'
        '[traces.no_pii_exposure]\naction = "block"\n[traces.default]\naction = "flag"\nsession_action = "quarantine"\n'
        '[[allowlist]]\npattern_id = "inj.x"\nexpires = 2027-06-30\napproved_by = ["a", "b"]\nreason = "quoted"\n'
    )
    shown = run("policy", "show", tmp_path / "mine.toml").stdout
    for word in (
        "pii",
        "breaks no_pii_exposure",
        "quarantine",
        "above 0.95",
        "pattern_id inj.x, until 2027-06-30, by a",
    ):
        assert word in shown
    content = json.loads(run("policy", "show", tmp_path / "mine.toml", "--json").stdout)
    assert content["allowlist"][0]["expires"] == "2027-06-30"
    assert content["tenants"]["*"]["failure"]["tool"]["detectors"] == {"pii": "allow"}


BAD = """
format = 2
version = ""
mode = "off"
colour = "red"
[thresholds]
block = "0.0001"
flag = 0.0005
[thresholds.channels.tool]
block = 2
[threats.default]
at_block = "blok"
at_flag = "flag"
min_severity = 0.0
[redaction]
pii = ["EMAIL", "MAIL"]
keep_card_last4 = 1
[[rules]]
effect = "deny"
channel = "usr"
reason = "x"
[[rules]]
effect = "deny"
reason = "fine"
[[rules]]
effect = "denied"
reason = "x"
[[allowlist]]
threat = "jailbreak"
expires = "soon"
approved_by = ["ada"]
reason = "x"
[tenants."acme.corp".harmful]
threshold = 7
[tenants.other]
shade = 1
"""


def test_all_that_is_wrong_in_a_policy_is_named_in_one_go(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(BAD)
    result = run("policy", "check", tmp_path / "mine.toml")
    assert isinstance(result.exception, ConfigError)
    lines = [*result.stderr.splitlines(), f"error: {result.exception}"]
    assert all(line.startswith(f"error: {tmp_path / 'mine.toml'}: ") for line in lines)
    keys = [line.split(": ")[2].partition(" = ")[0] for line in lines]
    assert keys == [
        "format",
        "version",
        "redaction.pii[1]",
        "redaction.keep_card_last4",
        "rules[0].channel",
        "rules[2].effect",
        "allowlist[0].expires",
        "mode",
        "thresholds.block",
        "thresholds.channels.tool.block",
        "threats.default.at_block",
        "colour",
        "tenants.acme.corp.harmful.threshold",
        "tenants.other.shade",
    ]


@pytest.mark.parametrize(
    ("content", "keys"),
    [
        ("mode = 1\nthresholds = 2\nthreats = 3\nplaybook = 4", ["playbook", "mode", "thresholds", "threats"]),
        ("rules = 1\nallowlist = [5, 6]", ["rules", "allowlist[0]", "allowlist[1]"]),
        ("tenants = 1\n[actions]\nlearn = 1\nthreats = []", ["actions.learn", "actions.seed", "tenants"]),
        (
            "[threats.jailbreak]\nat_block = 1\nat_flag = 1",
            ["threats.default", "threats.jailbreak.at_block", "threats.jailbreak.at_flag"],
        ),
        (
            "[tenants.a.thresholds]\nblock = 0.5\nflag = 0.1\n[tenants.b.failure]\nmode = 3\naction = 4",
            ["tenants.a.thresholds.flag", "tenants.b.failure.mode", "tenants.b.failure.action"],
        ),
    ],
)
def test_what_is_wrong_is_named_once_whatever_kind_it_is_of(tmp_path: Path, content: str, keys: list[str]) -> None:
    (tmp_path / "mine.toml").write_text(f'format = 1\nversion = "7"\n{content}\n')
    result = run("policy", "check", tmp_path / "mine.toml")
    assert isinstance(result.exception, ConfigError)
    lines = [*result.stderr.splitlines(), f"error: {result.exception}"]
    assert [line.split(": ")[2].partition(" = ")[0] for line in lines] == keys
