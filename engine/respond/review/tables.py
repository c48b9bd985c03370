"""The tables of the queue, one text for both databases; a database names its types in the gaps."""

from __future__ import annotations

from collections.abc import Mapping

FORMAT = 1
_TABLES = """
CREATE TABLE settings (name {text} PRIMARY KEY, value {bytes} NOT NULL){keyed};
CREATE TABLE items (
    id {serial}, key {bytes} NOT NULL UNIQUE,
    request_id {text} NOT NULL, session_id {text}, turn {int}, tenant {text}, ts {int}, channel {text} NOT NULL,
    text {bytes}, action {text} NOT NULL, threat_type {text} NOT NULL, score {real}, p_value {real}, severity {real},
    detail {text} NOT NULL, band {int} NOT NULL, added_at {int} NOT NULL, due_at {int} NOT NULL,
    state {text} NOT NULL DEFAULT 'open', claimed_by {text}, claimed_until {int}, label {text}, reviewer {text},
    reason {text}, decided_at {int}, text_removed {int} NOT NULL DEFAULT 0
);
CREATE INDEX items_due ON items (state, due_at, id);
CREATE INDEX items_session ON items {equal}(session_id) WHERE session_id IS NOT NULL;
CREATE INDEX items_decided ON items (decided_at, id) WHERE state = 'decided';
CREATE TABLE turns (
    key {bytes} PRIMARY KEY, tenant {text}, session_id {text} NOT NULL, turn {int}, request_id {text} NOT NULL,
    ts {int}, channel {text} NOT NULL, action {text} NOT NULL, threat_type {text} NOT NULL, score {real}, text {bytes},
    added_at {int} NOT NULL
){keyed};
CREATE INDEX turns_session ON turns {equal}(session_id);
CREATE TABLE history (
    id {serial}, item {int} NOT NULL, at {int} NOT NULL, who {text} NOT NULL,
    what {text} NOT NULL, label {text}, reason {text}
);
CREATE INDEX history_item ON history (item, id);
CREATE TABLE proposals (
    id {serial}, item {int} NOT NULL, tenant {text}, threat {text}, pattern_id {text}, sha256 {text},
    expires {text} NOT NULL, reason {text} NOT NULL, proposed_by {text} NOT NULL, proposed_at {int} NOT NULL,
    state {text} NOT NULL DEFAULT 'open', answered_by {text}, answered_at {int}, answer {text}
);
CREATE INDEX proposals_state ON proposals (state, id);
"""


def statements(types: Mapping[str, str]) -> list[str]:
    """What makes the tables, with ``types`` for serial (an id that grows and is never given again), int (64 bits),
    real (64 bits), text (compared by code points), bytes, keyed (what follows a table that is found by its key), and
    equal (an index by which equal values of any length are found)."""
    return [one.strip() for one in _TABLES.format_map(types).split(";\n") if one.strip()]
