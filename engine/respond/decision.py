"""The compiled loop that turns the scores of each row into an action; `aimds.respond.policy` makes its tables."""

from __future__ import annotations

import numpy as np
from numba import njit

from aimds.respond.scored import (
    ALLOW,
    BLOCK,
    CLEAN,
    DENIED,
    FLAG,
    HARMFUL,
    LISTED,
    P_BLOCK,
    P_FLAG,
    PASSED,
    RANK,
    REDACT,
    SENSITIVE,
    UNJUDGED,
)
from aimds.taxonomy import CODES, THREATS

OTHER_SCORE = 0.5
"""An allow rule does not hold for a row where a threat type it does not name scores this high."""
RULED_APART = np.isin(np.arange(len(THREATS)), [CODES[name] for name in ("none", "pii_exposure", "harmful_request")])
DECIDING_ACTIONS = (ALLOW, FLAG, REDACT, BLOCK, RANK)
DECIDING_REASONS = (CLEAN, P_BLOCK, P_FLAG, DENIED, PASSED, LISTED, HARMFUL, UNJUDGED, SENSITIVE)


@njit(cache=True, nogil=True)
def decide(  # type: ignore[no-untyped-def]
    rows, findings, marks, thresholds, actions, rules, sessions, known, reasons_known, every, apart,
    intended, session, reasons,
):  # fmt: skip
    # Fills ``intended``, ``session`` and ``reasons`` int8 (B,): codes of actions, of actions on sessions, of reasons.
    # Codes of other modules come as arguments: machine code on disk is renewed only when this file changes.
    who, channel, threat = rows
    allow, as_flag, redact, as_block, rank = known
    clean, p_block, p_flag, denied, passed, on_list, is_harmful, unjudged, is_sensitive = reasons_known
    p_value, severity, harmful, scores = findings
    failed, sensitive, listed = marks
    block, flag, least, harmful_limit = thresholds
    at_block, at_flag, on_failure, on_harmful = actions
    deny, let_pass = rules
    for row in range(len(p_value)):
        w, c, t = who[row], channel[row], threat[row]
        unknown = np.isnan(p_value[row])
        p = 1.0 if unknown else p_value[row]
        found = p <= flag[w, c]
        action, reason = np.int8(allow), clean
        if p <= block[w, c] and severity[row] >= least[w, t]:
            action, reason = at_block[w, t], p_block
        elif found:
            action, reason = at_flag[w, t], p_flag
        if found and let_pass[w, c, t] and not _something_else(scores[row], let_pass[w, c], apart):
            action, reason = np.int8(allow), passed
        if found and listed[row]:
            action, reason = np.int8(allow), on_list
        if found and deny[w, c, t]:
            action, reason = np.int8(as_block), denied
        if harmful[row] >= harmful_limit[w] and rank[on_harmful[w]] > rank[action]:
            action, reason = on_harmful[w], is_harmful
        lacking = np.int64(every) if unknown else np.int64(failed[row])
        detector = 0
        while lacking:
            if lacking & 1 and rank[on_failure[w, c, detector]] > rank[action]:
                action, reason = on_failure[w, c, detector], unjudged
            lacking >>= 1
            detector += 1
        if action == redact and not sensitive[row]:
            # Redacting a text without spans would let it through unchanged and unmarked.
            action = np.int8(as_flag)
        if sensitive[row] and rank[redact] > rank[action]:
            action, reason = np.int8(redact), is_sensitive
        intended[row], session[row], reasons[row] = action, sessions[action], reason


@njit(cache=True, nogil=True)
def _something_else(scores, let_pass, apart):  # type: ignore[no-untyped-def]
    # Personal data and harmful requests are dealt with by rules of their own.
    other = False
    for code in range(len(scores)):
        other |= not apart[code] and not let_pass[code] and scores[code] >= OTHER_SCORE
    return other
