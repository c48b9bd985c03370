"""`aimds policy`: check policy files, show what they say; try, explain and draw policies over sessions."""

from __future__ import annotations

import json
import tomllib
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aimds.cli import policy_faults, trace_policy
from aimds.printable import LINE, visible

if TYPE_CHECKING:
    from aimds.errors import AimdsError
    from aimds.respond.policy import Policy

EXIT_BROKEN = 1
GOOD = {
    "rules": [{"effect": "deny", "tenant": "any", "reason": "any"}],
    "allowlist": [{"threat": "jailbreak", "expires": date.min, "approved_by": ["any"], "reason": "any"}],
    "actions": {"learn": False, "threats": [], "seed": 0},
}
"""Parts of a policy that can be read and that the shipped one lacks; of a list, an entry."""

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    group = typer.Typer(help="Check, show, try, explain and draw policies.", no_args_is_help=True)
    group.command("check")(check)
    group.command("show")(show)
    trace_policy.register(group)
    app.add_typer(group, name="policy")


def check(file: Annotated[Path, typer.Argument(help="Policy file (TOML).")], as_json: AsJson = False) -> None:
    """Check a policy file, of actions or of sessions. All that is wrong in it is named with its place; exit code 2.

    Of actions: every run of the playbook must keep the rules; exit code 1 where one does not, and it is shown.
    """
    if trace_policy.is_about_sessions(file):
        trace_policy.check(file, as_json)
        return
    from aimds.ltl.playbook import breaches

    policy_faults.told(file, _faults(file))
    policy = _load(file)
    rules, broken = breaches(policy.playbook.steps)
    if as_json:
        typer.echo(json.dumps({**summary(policy), "broken_rules": [asdict(one) for one in broken]}))
    elif not broken:
        typer.echo(visible(f"{file}: ok, version {policy.version}, its playbook keeps all {rules} rules", LINE))
    for one in () if as_json else broken:
        typer.echo(visible(f"{file}: the playbook breaks {one.rule}. {one.says}", LINE))
        typer.echo(visible(f"  {' → '.join((*one.stem, *one.loop, '…'))}", LINE))
    if broken:
        raise typer.Exit(EXIT_BROKEN)


def show(
    file: Annotated[Path | None, typer.Argument(help="Policy file (TOML); without one, the shipped policy.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a policy does: thresholds, actions and exceptions, for everybody and per tenant."""
    content = summary(_load(file))
    if as_json:
        typer.echo(json.dumps(content))
    else:
        _print(content)


def _load(file: Path | None) -> Policy:
    from aimds.errors import DataError
    from aimds.respond.policy import Policy

    try:
        return Policy.load(file)
    except RecursionError:
        raise DataError(file, "is not a policy: its values are nested too deep to be read") from None


def _faults(file: Path) -> list[AimdsError]:
    """What is wrong in the values of ``file``, if it can be read at all."""
    from aimds.respond.policy import SECTIONS, Policy

    try:
        values = tomllib.loads(file.read_bytes().decode())
        good = {**Policy.load().values, **GOOD}
        return policy_faults.faults(Policy, {key: good[key] for key in SECTIONS} | values, good)
    except (OSError, ValueError, RecursionError):
        return []


def summary(policy: Policy) -> dict[str, Any]:
    """What ``policy`` says, as plain data; under ``tenants``, "*" is everybody without a table of their own."""
    names = ("*", *policy.tenants)
    parts = zip(policy.settings, policy.sessions, strict=True)
    return {
        "version": policy.version,
        "tenants": {
            name: {**asdict(texts), "sessions": asdict(sessions)}
            for name, (texts, sessions) in zip(names, parts, strict=True)
        },
        "rules": [asdict(rule) for rule in policy.overrides],
        "allowlist": [{**asdict(entry), "expires": entry.expires.isoformat()} for entry in policy.allowlist.entries],
        "quarantine": asdict(policy.quarantine),
        "rate_limit": asdict(policy.rate_limit),
        "redacted": sorted(policy.redacted),
        "playbook": policy.playbook.steps,
    }


def _print(content: dict[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    from aimds.cli import terminal

    def line(content: str) -> Text:
        return Text(visible(content, LINE))

    console = terminal.console(highlight=True)
    console.print(line(f"policy {content['version']}"))
    limits = Table("tenant", "mode", "channel", "block at p ≤", "flag at p ≤", "if a detector fails")
    actions = Table("tenant", "threat", "at block", "at flag", "min severity")
    failures = Table("tenant", "channel", "detector", "if it fails")
    sessions = Table("tenant", "if a session", "action", "session action")
    for name, part in content["tenants"].items():
        for channel, row in part["thresholds"].items():
            if channel:
                mode, failure = "shadow" if part["shadow"] else "enforce", part["failure"][channel]["action"]
                cells = (name, mode, channel, f"{row['block']:g}", f"{row['flag']:g}", failure)
                limits.add_row(*map(line, cells))
        for threat, row in part["responses"].items():
            if threat == "default" or row != part["responses"]["default"]:
                actions.add_row(*map(line, (name, threat, row["at_block"], row["at_flag"], f"{row['min_severity']:g}")))
        for channel, row in part["failure"].items():
            for detector, action in row["detectors"].items() if channel else ():
                failures.add_row(*map(line, (name, channel, detector, action)))
        later = part["sessions"]
        bands = [(f"score above {band['above']:g} ({key})", band["then"]) for key, band in later["bands"].items()]
        broken = [
            ("breaks any other policy" if key == "default" else f"breaks {key}", then)
            for key, then in later["traces"].items()
        ]
        for what, then in (*bands, *broken):
            sessions.add_row(*map(line, (name, what, then["action"], then["session_action"])))
        harmful = part["harmful"]
        actions.add_row(*map(line, (name, f"harmful score ≥ {harmful['threshold']:g}", harmful["action"], "", "")))
    console.print(*map(terminal.uncut, (limits, *([failures] if failures.row_count else []), actions, sessions)))
    for rule in content["rules"]:
        scope = ", ".join(f"{key} {rule[key]}" for key in ("tenant", "channel", "threat") if rule[key]) or "everything"
        console.print(line(f"{'deny' if rule['deny'] else 'allow'} {scope}: {rule['reason']}"))
    for entry in content["allowlist"]:
        named = ", ".join(f"{key} {entry[key]}" for key in ("tenant", "threat", "pattern_id", "sha256") if entry[key])
        told = f"until {entry['expires']}, by {', '.join(entry['approved_by'])}: {entry['reason']}"
        console.print(line(f"allowlist: {named}, {told}"))
    for name in ("quarantine", "rate_limit"):
        part = content[name]
        turns = f" beyond {part['turns_per_minute']:g} turns a minute" if part["turns_per_minute"] else ""
        time = f"for {part['hold_s'] / 60:g} minutes" if part["hold_s"] else "until released"
        console.print(line(f"session action {name}: {part['action']}{turns}, {time}"))
    console.print(line("taken out of texts: " + ", ".join(content["redacted"])))
    for action, steps in content["playbook"].items():
        console.print(line(f"{action}: {' → '.join(steps)}"))
