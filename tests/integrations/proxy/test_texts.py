"""Which strings of a body are texts, on which channel, and bodies that two readers would read in two ways."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimds.integrations.proxy.texts import BodyError, decoded, encoded, leaves


def found(document: dict[str, Any], shape: Any = "request") -> list[tuple[str, str]]:
    return [(leaf.text, leaf.channel) for leaf in leaves(document, shape)]


def test_messages_of_chat_completions_have_the_channel_of_their_role() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"q": "x"}'}}
    document = {
        "model": "m",
        "messages": [
            {"role": "system", "content": "S"},
            {"role": "developer", "content": "D"},
            {"role": "user", "content": [{"type": "text", "text": "U"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "T"},
        ],
        "tools": [{"type": "function", "function": {"name": "look", "description": "F", "parameters": {"type": "object"}}}],
    }  # fmt: skip
    expected = [("S", "system"), ("D", "system"), ("U", "user"), ("look", "assistant"), ('{"q": "x"}', "assistant")]
    assert found(document) == [*expected, ("T", "tool"), ("look", "document"), ("F", "document")]


def test_blocks_of_messages_have_the_channel_of_their_type() -> None:
    document = {
        "system": [{"type": "text", "text": "S"}],
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "D"}},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
                    {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "T"}]},
                    {"type": "text", "text": "U"},
                ],
            },
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "n", "input": {"id": "A"}}]},
        ],
    }
    expected = [
        ("S", "system"),
        ("D", "document"),
        ("T", "tool"),
        ("U", "user"),
        ("n", "assistant"),
        ("A", "assistant"),
    ]
    assert found(document) == expected


def test_turns_of_responses_have_the_channel_of_their_type() -> None:
    document = {
        "model": "m",
        "instructions": "S",
        "previous_response_id": "resp_1",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "U"}, {"type": "input_image", "image_url": "data:image/png;base64,AA"}]},
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "R"}], "encrypted_content": "xx"},
            {"type": "function_call", "call_id": "c", "name": "look", "arguments": '{"q": "x"}'},
            {"type": "image_generation_call", "result": "AAAA"},
            {"type": "function_call_output", "call_id": "c", "output": "T"},
            {"type": "web_search_call_output", "result": "W"},
        ],
        "tools": [{"type": "function", "name": "look", "description": "F"}],
    }  # fmt: skip
    expected = [("S", "system"), ("U", "user"), ("R", "assistant"), ("look", "assistant"), ('{"q": "x"}', "assistant")]
    assert found(document) == [*expected, ("T", "tool"), ("W", "tool"), ("look", "document"), ("F", "document")]
    new = {leaf.text: leaf.new for leaf in leaves(document, "request")}
    assert [new[text] for text in "SURTWF"] == [False, False, False, True, True, False]


def test_an_answer_does_not_judge_what_it_repeats_of_the_system() -> None:
    body = {"instructions": "S", "output": [{"type": "message", "content": [{"type": "output_text", "text": "A"}]}]}
    assert found(body, "response") == [("A", "assistant")]
    assert found({"type": "response.created", "response": body}, "response") == [("A", "assistant")]


@pytest.mark.parametrize("prompt", [[1, 2], [[1], [2]], ["a", [3]]])
def test_a_prompt_of_numbers_is_refused(prompt: Any) -> None:
    with pytest.raises(BodyError, match="numbers of tokens"):
        leaves({"model": "m", "prompt": prompt}, "request")
    assert found({"prompt": ["a", "b"], "suffix": "c"}) == [("a", "user"), ("b", "user"), ("c", "user")]


def test_a_key_that_is_more_than_a_name_is_a_text_and_keeps_its_place() -> None:
    schema = {"type": "object", "properties": {"city": {}, "say this": {"type": "string"}, "z" * 41: {}, "é": {}}}
    document = {"tools": [{"function": {"parameters": schema}}], "an order to you": 1}
    keys = [leaf for leaf in leaves(document, "request") if leaf.names]
    assert [(leaf.text, leaf.channel) for leaf in keys] == [
        ("say this", "document"),
        ("z" * 41, "document"),
        ("é", "document"),
        ("an order to you", "user"),
    ]
    for leaf in keys:
        leaf.put("X")
    assert list(schema["properties"]) == ["city", "X", "X 2", "X 3"]
    assert schema["properties"]["X"] == {"type": "string"}
    assert document["X"] == 1


def test_a_value_and_its_key_are_both_replaced() -> None:
    document = {"an order": "value"}
    for leaf in leaves(document, "request"):
        leaf.put(leaf.text.upper())
    assert document == {"AN ORDER": "VALUE"}


def test_an_unknown_key_or_one_in_other_case_hides_nothing() -> None:
    assert found({"Messages": [{"role": "user", "Content": "A"}], "novelty": {"deep": ["B"]}}) == [
        ("A", "user"),
        ("B", "user"),
    ]
    assert found({"messages": [{"role": "user", "id": {"text": "A"}}]}) == [("A", "user")]


def test_only_messages_after_the_last_answer_are_new() -> None:
    roles = ("user", "assistant", "user", "tool")
    document = {"messages": [{"role": role, "content": str(i)} for i, role in enumerate(roles)], "system": "s"}
    assert [leaf.new for leaf in leaves(document, "request")] == [False, False, True, True, False]


def test_a_text_is_replaced_where_it_stands() -> None:
    document = {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}]}
    leaves(document, "request")[0].put("b")
    assert document["messages"][0]["content"][0]["text"] == "b"
    assert leaves(document, "request")[0].place == "messages[0].content[0].text"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"a": 1, "a": 2}', "twice"),
        (b'{"m": [{"role": "user", "content": "x", "content": "y"}]}', "twice"),
        (b"[]", "object"),
        (b"", "JSON"),
        (b'{"a": ', "JSON"),
        (b"\xef\xbb\xbf{}", "JSON"),
        ('{"a": "ü"}'.encode("latin-1"), "UTF-8 at byte 7"),
        ('{"a": 1}'.encode("utf-16"), "UTF-8"),
        (b"[" * 100_000, "deep"),
        (b'{"a": NaN}', "NaN is no number"),
        (b'{"a": 1e999}', "1e999 is no number"),
    ],
)
def test_what_two_readers_may_read_in_two_ways_is_refused(body: bytes, said: str) -> None:
    with pytest.raises(BodyError, match=said):
        decoded(body)


def test_nesting_is_bounded() -> None:
    value: Any = "x"
    for _ in range(100):
        value = [value]
    with pytest.raises(BodyError, match="64 deep"):
        leaves({"messages": value}, "request")


KEYS = st.text("abc_0", max_size=4).map("key".__add__)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(KEYS, JSON, max_size=4))
def test_every_string_under_an_unknown_key_is_a_text(document: dict[str, Any]) -> None:
    def strings(value: Any) -> list[str]:
        if isinstance(value, str):
            return [value] if value else []
        items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        return [text for item in items for text in strings(item)]

    assert [leaf.text for leaf in leaves(document, "request")] == strings(document)
    assert decoded(encoded(document)) == json.loads(json.dumps(document))
