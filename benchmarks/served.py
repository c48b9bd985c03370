"""`aimds serve` in a process of its own, with a certificate and a client that it knows, to measure over the wire."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from aimds.gateway import certificates
from aimds.gateway.client import Options

TICK = os.sysconf("SC_CLK_TCK")
SETTINGS = """
[listen]
port = 0
[tls]
certificate = "server.pem"
key = "server.key"
[auth.certificates]
client_ca = "ca.pem"
[auth.certificates.clients."bench.example"]
tenant = "bench"
roles = ["screen", "metrics"]
[screening]
profile = "{profile}"
cache_bytes = 0
workers = {workers}
"""


@dataclass(frozen=True, slots=True)
class Served:
    """Where it is reached, how, and the process it is."""

    url: str
    options: Options
    process: int

    def cpu_s(self) -> float:
        """Seconds of processor time so far, of the gateway and the processes that work for it."""
        children = Path(f"/proc/{self.process}/task/{self.process}/children").read_text().split()
        return self.own_cpu_s() + sum(_cpu_s(int(one)) for one in children)

    def own_cpu_s(self) -> float:
        """Of these, the seconds of the gateway alone."""
        return _cpu_s(self.process)


def _cpu_s(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


@contextmanager
def served(workers: int, watched: Path | None = None, profile: str = "fast") -> Iterator[Served]:
    """A gateway on a free port of loopback, no cache; it is drained at the end.

    With ``watched`` what it holds is noted there, as `benchmarks.watched` does.
    """
    with tempfile.TemporaryDirectory() as name:
        folder, now = Path(name), datetime.now(UTC)
        ca = certificates.authority("bench", now)
        certificates.write(folder, "ca", ca)
        certificates.write(folder, "server", certificates.issue(ca, "server", ["127.0.0.1"], now))
        certificates.write(folder, "client", certificates.issue(ca, "client", ["bench.example"], now, client=True))
        (folder / "aimds.toml").write_text(SETTINGS.format(workers=workers, profile=profile), "utf-8")
        program = ["aimds"] if watched is None else ["benchmarks.watched", str(watched)]
        command = [sys.executable, "-m", *program, "serve", "-c", str(folder / "aimds.toml")]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ})
        assert process.stderr is not None
        try:
            address = ""
            for line in process.stderr:
                if "listening on " in line:
                    address = line.rpartition(" ")[2].strip()
                    break
            if not address:
                raise RuntimeError("the gateway did not start")
            options = Options(
                ca=folder / "ca.pem",
                certificate=folder / "client.pem",
                key=folder / "client.key",
                deadline_ms=100_000.0,
            )
            yield Served(address, options, process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
