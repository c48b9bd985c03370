"""Tables and plots of one run, into the documentation: `python -m benchmarks.page RUN.jsonl docs/benchmarks.md`.

Replaces what stands between the lines ``<!-- figures -->`` and ``<!-- end of figures -->``, and writes SVG plots to
``images/`` beside the page.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"
ROW, LEFT, WIDTH, BAR = 20, 330, 860, 12
INK, MUTED, GOOD, POOR = "#1f2937", "#6b7280", "#2f6f9f", "#b45309"

Line = dict[str, Any]


def bars(title: str, lines: Sequence[Line], *, marks: Sequence[float] = ()) -> str:
    """One bar a line on a logarithmic axis of ratios that is broken at 1: to the right where ours is faster."""
    values = [max(float(line["ratio"]), 1e-3) for line in lines]
    low, high = min(0.5, *marks, *values), max(2.0, *values)
    span = math.log(high) - math.log(low)
    one_peer = len({line["peer_name"] for line in lines}) == 1
    room = WIDTH - LEFT - 70

    def x(value: float) -> float:
        return LEFT + room * (math.log(value) - math.log(low)) / span

    height = 44 + ROW * len(lines) + 24
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="12" y="22" font-size="15" fill="{INK}">{escape(title)}</text>',
    ]
    foot = 40 + ROW * len(lines)
    for mark in sorted(
        {1.0, *(tick for tick in (0.1, 0.2, 0.5, 2, 5, 10, 20, 50, 100) if low <= tick <= high), *marks}
    ):
        if low <= mark <= high:
            colour = INK if mark == 1 else "#d1d5db"
            out.append(f'<line x1="{x(mark):.1f}" x2="{x(mark):.1f}" y1="34" y2="{foot}" stroke="{colour}"/>')
            out.append(f'<text x="{x(mark):.1f}" y="{foot + 14}" text-anchor="middle" fill="{MUTED}">{mark:g}</text>')
    for k, (line, value) in enumerate(zip(lines, values, strict=True)):
        top = 38 + ROW * k
        start, stop = sorted((x(1.0), x(value)))
        name = line["name"] if one_peer else f"{line['name']}, {line['peer_name'].split(',')[0]}"
        name = name if len(name) < 54 else name[:52] + "…"
        out.append(f'<text x="{LEFT - 8}" y="{top + 10}" text-anchor="end" fill="{INK}">{escape(name)}</text>')
        shown = f"{value:.2f}" if value < 10 else f"{value:.0f}"
        colour = GOOD if value >= 1 else POOR
        out.append(
            f'<rect x="{start:.1f}" y="{top}" width="{max(stop - start, 1):.1f}" height="{BAR}" fill="{colour}"/>'
        )
        out.append(f'<text x="{max(stop, x(1.0)) + 5:.1f}" y="{top + 10}" fill="{MUTED}">{shown}×</text>')
    return "\n".join([*out, "</svg>"]) + "\n"


def table(lines: Sequence[Line]) -> str:
    """A Markdown table of ``lines``."""
    rows = ["| case | peer | ours | peer's | unit | ratio | same result |", "|---|---|---|---|---|---|---|"]
    for line in lines:
        shown = f"| {line['name']} | {line['peer_name']} | {line['ours']:.4g} | {line['peer']:.4g} | {line['unit']}/s "
        rows.append(shown + f"| {line['ratio']:.2f} | {'yes' if line['same'] else '**no**'} |")
    return "\n".join(rows)


GROUPS: tuple[tuple[str, str, Callable[[str], bool], str], ...] = (
    (
        "Kernels",
        "bench-kernels.svg",
        lambda n: not n.startswith(("screen", "threads")),
        "times as fast as each peer, one thread",
    ),
    ("Two threads", "bench-threads.svg", lambda n: n.startswith("threads"), "times as fast as on one thread"),
    (
        "The screener",
        "bench-screen.svg",
        lambda n: n == "screen" or n.startswith("screen_one"),
        "times as fast as TF-IDF and a logistic regression",
    ),
    (
        "Length of the prompt",
        "bench-tokens.svg",
        lambda n: n.startswith("screen_tokens"),
        "bytes a second by tokens a prompt, beside 1,000 tokens",
    ),
    (
        "Hostile input",
        "bench-worst.svg",
        lambda n: n.startswith("screen_worst"),
        "bytes a second of 1 MB of one thing beside ordinary text; the limit is 0.2",
    ),
)


def section(lines: Sequence[Line], images: Path) -> str:
    """The Markdown between the marks; writes the plots to ``images``."""
    about = next((line for line in lines if "machine" in line), None)
    out = []
    if about:
        versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
        vector = f" with {about['vector']}" if about["vector"] else ""
        out.append(
            f"One run on a shared {about['machine']}{vector}, {about['cores']} cores, one thread where not two are "
            f"named; Python {about['python']}, {versions}.\n"
        )
    images.mkdir(parents=True, exist_ok=True)
    for title, file, mine, words in GROUPS:
        some = [line for line in lines if "name" in line and mine(line["name"])]
        if not some:
            continue
        marks = (0.2,) if "worst" in file else ()
        (images / file).write_text(bars(f"{title}: {words}", some, marks=marks), encoding="utf-8")
        out.append(f"### {title}\n\n![{title}: {words}](images/{file})\n\n{table(some)}\n")
    return "\n".join(out)


def main(arguments: Sequence[str]) -> int:
    """Command line; exit code 2 where a file cannot be used."""
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    run, page = map(Path, arguments)
    try:
        lines = [json.loads(line) for line in run.read_text(encoding="utf-8").splitlines()]
        text = page.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if BEGIN not in text or END not in text:
        print(f"error: {page} has no lines {BEGIN} and {END}", file=sys.stderr)
        return 2
    head, rest = text.split(BEGIN, 1)
    tail = rest.split(END, 1)[1]
    page.write_text(f"{head}{BEGIN}\n\n{section(lines, page.parent / 'images')}\n{END}{tail}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
