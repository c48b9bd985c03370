"""The container files: pinned, not root, checked for health, nothing left behind; hadolint says the rest (make lint)."""

from __future__ import annotations

import json
import shlex
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = ("Dockerfile", "Dockerfile.gpu")


def instructions(text: str) -> list[tuple[str, str]]:
    """Keyword and arguments of each instruction, continued lines joined."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(words[0].upper(), words[1].strip()) for line in joined.splitlines() if (words := line.split(None, 1))]


def problems(text: str) -> list[str]:
    """What is wrong with a container file."""
    found, stages = [], {"scratch"}
    steps = instructions(text)
    last = max(k for k, (word, _) in enumerate(steps) if word == "FROM")
    for k, (word, rest) in enumerate(steps):
        if word == "FROM":
            image, *named = rest.split()
            tag = image.rpartition("/")[2].partition(":")[2]
            if image not in stages and (not any(c.isdigit() for c in tag) or tag == "latest"):
                found.append(f"{image} is not pinned")
            stages |= set(named[1:])
        if word == "ADD":
            found.append("ADD")
        if word == "RUN":
            if "apt-get install" in rest and not ("--no-install-recommends" in rest and "rm -rf /var/lib/apt" in rest):
                found.append("apt-get leaves its lists or takes what is recommended")
            if "pip install" in rest and "--no-cache-dir" not in rest:
                found.append("pip leaves its cache")
        if word == "COPY" and k > last and not rest.startswith("--from=") and rest.split()[0] == ".":
            found.append("the whole tree is copied")
        if word in ("ENTRYPOINT", "CMD") and not rest.startswith("["):
            found.append(f"{word} goes through a shell")
    final = dict(steps[last:])
    if final.get("USER", "0").split(":")[0] in ("0", "root"):
        found.append("runs as root")
    return found + [f"no {word}" for word in ("HEALTHCHECK", "ENTRYPOINT", "CMD") if word not in final]


@pytest.mark.parametrize("name", FILES)
def test_a_container_file_keeps_the_rules(name: str) -> None:
    assert problems((ROOT / name).read_text("utf-8")) == []


@pytest.mark.parametrize(
    ("right", "wrong", "problem"),
    [
        ("python:3.12-slim-bookworm", "python", "python is not pinned"),
        ("python:3.12-slim-bookworm", "python:latest", "python:latest is not pinned"),
        ("USER 10001:10001\n", "", "runs as root"),
        ("USER 10001:10001\n", "USER root\n", "runs as root"),
        ("HEALTHCHECK --interval", "# --interval", "no HEALTHCHECK"),
        (" --no-cache-dir", "", "pip leaves its cache"),
        ('ENTRYPOINT ["aimds"]', "ENTRYPOINT aimds", "ENTRYPOINT goes through a shell"),
        ("COPY deploy/healthcheck.py", "ADD deploy/healthcheck.py", "ADD"),
    ],
)
def test_a_container_file_that_breaks_a_rule_is_noticed(right: str, wrong: str, problem: str) -> None:
    text = (ROOT / "Dockerfile").read_text("utf-8")
    assert right in text
    assert problem in problems(text.replace(right, wrong))


@pytest.mark.parametrize("name", FILES)
def test_what_an_image_copies_is_in_its_build_context(name: str) -> None:
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")]
    for word, rest in instructions((ROOT / name).read_text("utf-8")):
        if word == "COPY" and not rest.startswith("--from="):
            *sources, _ = rest.split()
            for source in sources:
                assert (ROOT / source).exists(), source
                assert source in kept


@pytest.mark.parametrize("name", FILES)
def test_the_default_command_and_the_health_check_fit_each_other(name: str) -> None:
    steps = dict(instructions((ROOT / name).read_text("utf-8")))
    assert json.loads(steps["ENTRYPOINT"]) == ["aimds"]
    assert json.loads(steps["CMD"])[0] == "serve"
    script = json.loads(steps["HEALTHCHECK"].partition("CMD ")[2])[1]
    assert f"deploy/healthcheck.py {script}" in (ROOT / name).read_text("utf-8")
    assert "8443/udp" in shlex.split(steps["EXPOSE"])
    assert ":8443/" in health().URL


def health():
    path = ROOT / "deploy" / "healthcheck.py"
    spec = spec_from_file_location("healthcheck", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_health_is_what_the_gateway_answers(status: int, code: int, capsys) -> None:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *words: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        found = health().main(f"http://127.0.0.1:{server.server_port}/healthz")
        thread.join()
    assert found == code
    assert bool(capsys.readouterr().err) == bool(code)


def test_nobody_who_answers_is_not_healthy(capsys) -> None:
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        port = server.server_port
    assert health().main(f"https://127.0.0.1:{port}/healthz") == 1
    assert health().main("nonsense") == 1
    assert capsys.readouterr().err.count("\n") == 2
