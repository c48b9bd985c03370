from __future__ import annotations

import pytest

from aimds.learn.yaml_scalars import scalars


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        ("", []),
        ("value: plain words # a comment\nother: no\n", ["plain words"]),
        ("value: goes on\n  over two lines\nother: no\n", ["goes on over two lines"]),
        ("value: >\n  folded\n  words\n\n  more\nother: no\n", ["folded words more"]),
        ("value: |-\n    first\n      deeper\nother: no\n", ["first deeper"]),
        ("value: 'it''s # no comment'\nother: no\n", ["it's # no comment"]),
        ("value: 'over\n  two lines'\n", ["over two lines"]),
        ('value: "a \\"quoted\\" \\u0041\\x42\\U00000043 \\\n  line\\n end" # c\n', ['a "quoted" ABC line end']),
        ('value: "\\ud800 \\uZZZZ"\n', ["\ufffd uZZZZ"]),
        (
            "seeds:\n  - value: one here\n    metadata: no\n  - value: >-\n      two\n      here\n",
            ["one here", "two here"],
        ),
        ("- - value: deep one\n", ["deep one"]),
        ("value:\n  value: inside a table\n", ["inside a table"]),
        ("value:\n  - not this\n", []),
        ("value: {a: 1}\nvalue: [1]\nvalue: *alias\nvalue: !tag x\n", []),
        ("values: no\nvalue:no\nmy value: no\n", []),
        ("value: 'never closed\n", ["never closed"]),
    ],
)
def test_texts_under_the_key_are_read_word_for_word(content: str, texts: list[str]) -> None:
    assert [" ".join(text.split()) for text in scalars(content, "value")] == texts
