"""Chromium without a window, driven by its DevTools protocol over a pair of pipes."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WAIT_S = 40.0
_KEYS = {"Enter": ("Enter", 13, "\r"), "Escape": ("Escape", 27, "")}


class Chromium:
    """One browser with one page, started with ``more`` options. ``alerts`` are dialogs that a page opened, ``complaints``
    errors in its log."""

    def __init__(self, profile: Path, *more: str) -> None:
        assert PROGRAM is not None
        to_read, self._to = os.pipe()
        self._from, to_write = os.pipe()

        def pipes() -> None:
            # Read from 3 and write to 4, as the option wants it; through high numbers, since these may be among them.
            first, second = os.dup(to_read), os.dup(to_write)
            os.dup2(first, 3)
            os.dup2(second, 4)

        options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe"]
        options += ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
        self._process = subprocess.Popen(
            [PROGRAM, *options, *more, f"--user-data-dir={profile}", "about:blank"],
            preexec_fn=pipes,
            close_fds=False,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(to_write)
        self._held, self._count = b"", 0
        self.alerts: list[str] = []
        self.complaints: list[str] = []
        self._session: str | None = None
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Accessibility"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of a command."""
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + WAIT_S
        while True:
            found = self._next(until)
            if found.get("id") == message["id"]:
                assert "error" not in found, found
                return dict(found["result"])
            self._event(found)

    def _event(self, found: dict[str, Any]) -> None:
        params = found.get("params", {})
        match found.get("method"):
            case "Page.javascriptDialogOpening":
                self.alerts.append(params["message"])
                message = {"id": 0, "method": "Page.handleJavaScriptDialog", "params": {"accept": True}}
                os.write(self._to, json.dumps({**message, "sessionId": self._session}).encode() + b"\0")
            case "Log.entryAdded" if params["entry"]["level"] == "error":
                self.complaints.append(params["entry"]["text"])
            case "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(params["exceptionDetails"]))

    def _next(self, until: float) -> dict[str, Any]:
        while b"\0" not in self._held:
            ready, _, _ = select.select([self._from], [], [], max(0.0, until - time.monotonic()))
            assert ready, "the browser does not answer"
            more = os.read(self._from, 1 << 20)
            assert more, "the browser has ended"
            self._held += more
        line, _, self._held = self._held.partition(b"\0")
        return dict(json.loads(line))

    def go(self, url: str) -> None:
        """Open ``url``."""
        self.send("Page.navigate", url=url)

    def run(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        # By default the protocol lets its own scripts do what the page's policy forbids.
        as_the_page = {"awaitPromise": True, "returnByValue": True, "allowUnsafeEvalBlockedByCSP": False}
        found = self.send("Runtime.evaluate", expression=expression, **as_the_page)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, expression: str) -> Any:
        """Wait until ``expression`` is true."""
        until = time.monotonic() + WAIT_S
        while time.monotonic() < until:
            value = self.run(expression)
            if value:
                return value
            time.sleep(0.05)
        raise AssertionError(f"never true: {expression}")

    def press(self, key: str) -> None:
        """Press and release a key."""
        name, code, text = _KEYS[key] if key in _KEYS else (key, ord(key.upper()), key)
        shared = {"key": name, "windowsVirtualKeyCode": code}
        self.send("Input.dispatchKeyEvent", type="keyDown", text=text, **shared)
        self.send("Input.dispatchKeyEvent", type="keyUp", **shared)

    def type(self, text: str) -> None:
        """Put ``text`` where the focus is."""
        self.send("Input.insertText", text=text)

    def size(self, width: int, height: int) -> None:
        """Give the page another size."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def nodes(self) -> list[tuple[str, str]]:
        """Role and name of what assistive technology sees."""
        found = self.send("Accessibility.getFullAXTree")["nodes"]
        return [
            (node["role"]["value"], node.get("name", {}).get("value", "")) for node in found if not node.get("ignored")
        ]

    def close(self) -> None:
        """End the browser and all that it started."""
        os.close(self._to)
        os.close(self._from)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
