"""Signed events: a change, a gap, a cut-off end or a foreign key shows, and a writer that dies leaves what was there."""

from __future__ import annotations

import datetime
import shutil
from pathlib import Path

import pytest

from aimds.detect.patterns.keys import SigningKey
from aimds.errors import ArtefactError, ConfigError, DataError
from aimds.learn import events

KEY, OTHER = SigningKey.of(bytes(range(32))), SigningKey.of(bytes(range(1, 33)))
NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "state"
    events.create(made, key=KEY, name="one", now=NOW)
    for word in ("first", "second"):
        add(made, word)
    return made


def add(folder: Path, word: str, key: SigningKey = KEY) -> events.Event:
    return events.append(
        folder, "said", lambda before: {"word": word, "after": len(before)}, key=key, now=NOW, by="a b"
    )


def test_events_come_back_in_order_each_naming_the_one_before(folder: Path) -> None:
    found = events.load(folder)
    assert [event.body.get("word") for event in found] == [None, "first", "second"]
    assert [event.previous for event in found[1:]] == [event.hash for event in found[:-1]]
    assert found[2].body["after"] == 2
    assert (found[2].by, found[2].time) == ("a b", "2026-01-01T00:00:00+00:00")


def test_every_changed_byte_of_an_event_shows(folder: Path) -> None:
    file = events.event_file(folder, 1)
    content = file.read_bytes()
    for place in range(0, len(content), 7):
        file.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(ArtefactError):
            events.load(folder)
    file.write_bytes(content)
    assert len(events.load(folder)) == 3


def test_a_cut_off_end_a_gap_and_a_swap_show(folder: Path, tmp_path: Path) -> None:
    for number, problem in ((2, "head knows 2"), (1, "event 1 is missing")):
        copy = tmp_path / f"copy{number}"
        shutil.copytree(folder, copy)
        events.event_file(copy, number).unlink()
        with pytest.raises(ArtefactError, match=problem):
            events.load(copy)
    for suffix in (".json", ".sig"):
        one, two = (events.event_file(folder, number).with_suffix(suffix) for number in (1, 2))
        kept = one.read_bytes()
        one.write_bytes(two.read_bytes())
        two.write_bytes(kept)
    with pytest.raises(ArtefactError, match="does not follow"):
        events.load(folder)


def test_a_head_that_was_changed_shows(folder: Path) -> None:
    head = folder / events.HEAD
    head.write_bytes(head.read_bytes().replace(b'"number":2', b'"number":1'))
    with pytest.raises(ArtefactError, match="signature is wrong"):
        events.load(folder)


def test_who_is_not_trusted_cannot_write_and_is_not_read(folder: Path) -> None:
    with pytest.raises(ConfigError, match="trusts"):
        add(folder, "x", OTHER)
    with pytest.raises(ArtefactError, match="not trusted"):
        events.load(folder, {OTHER.public.id: OTHER.public})
    assert len(events.load(folder, {KEY.public.id: KEY.public})) == 3


def test_a_writer_that_died_between_any_two_files_leaves_a_state_that_loads(folder: Path, tmp_path: Path) -> None:
    after = tmp_path / "after"
    shutil.copytree(folder, after)
    add(after, "third")
    document = events.event_file(after, 3)
    written = [document.with_suffix(".sig"), document, after / events.HEAD]
    for file in written:
        shutil.copy(file, folder / file.relative_to(after))
        assert len(events.load(folder)) in (3, 4)
        assert len({event.hash for event in events.load(folder)}) == len(events.load(folder))
    assert [event.body["word"] for event in events.load(folder)[1:]] == ["first", "second", "third"]


def test_an_event_that_outlived_its_writer_is_followed_by_the_next(folder: Path, tmp_path: Path) -> None:
    head = (folder / events.HEAD).read_bytes()
    add(folder, "third")
    (folder / events.HEAD).write_bytes(head)
    assert add(folder, "fourth").number == 4


def test_a_folder_is_not_made_twice_and_none_is_said_to_be_none(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="already"):
        events.create(folder, key=KEY, name="two", now=NOW)
    with pytest.raises(ArtefactError, match="keygen"):
        events.load(tmp_path / "nowhere")
    with pytest.raises(ArtefactError, match="keygen"):
        add(tmp_path / "nowhere", "x")


def test_names_are_one_printable_line(folder: Path) -> None:
    with pytest.raises(ConfigError, match="by"):
        events.append(folder, "said", lambda before: {}, key=KEY, now=NOW, by="a\nb")
