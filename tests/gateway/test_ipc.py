"""Arrow IPC from strangers: what is whole is read, what is cut, mutated or swollen is refused and never believed."""

from __future__ import annotations

import contextlib
import struct
import tracemalloc
from collections.abc import Iterator
from random import Random
from typing import Any

import pyarrow as pa
import pytest
from desk import ARROW, Desk, ipc, taken

from aimds.gateway.arrow_metadata import Flat
from aimds.gateway.ipc import END, MAX_ROWS, MAX_WORDS, Reader, Writer
from aimds.gateway.problem import Problem
from aimds.schema import CHANNELS, REQUESTS

TABLE = pa.table({"text": ["one", "two", "three"], "channel": ["user", "tool", "document"], "turn": [1, None, 3]})


def read(content: bytes, size: int = 1 << 20, **limits: int) -> pa.Table:
    reader, out = Reader(**limits), []
    for i in range(0, len(content), size):
        reader.feed(content[i : i + size])
        while reader.coming() is not None:
            out.append(reader.batch())
    reader.end()
    return pa.Table.from_batches(out, REQUESTS)


def refused(content: bytes, **limits: int) -> Problem:
    with pytest.raises(Problem) as caught:
        read(content, **limits)
    return caught.value


@pytest.mark.parametrize("size", [1, 3, 64, 1 << 20])
@pytest.mark.parametrize("compression", [None, "zstd", "lz4"])
def test_a_stream_is_read_in_pieces_of_any_size(compression: str | None, size: int) -> None:
    found = read(ipc(TABLE, compression=compression), size)
    assert found.column("text").to_pylist() == ["one", "two", "three"]
    assert found.column("channel").to_pylist() == ["user", "tool", "document"]
    assert found.column("request_id").to_pylist() == ["0", "1", "2"]


def test_rows_are_numbered_over_batches() -> None:
    table = pa.Table.from_batches(TABLE.to_batches() * 3)
    assert read(ipc(table)).column("request_id").to_pylist() == [str(i) for i in range(9)]


def test_a_channel_may_be_a_dictionary() -> None:
    table = TABLE.set_column(1, "channel", TABLE.column("channel").dictionary_encode())
    assert read(ipc(table)).column("channel").to_pylist() == ["user", "tool", "document"]


def test_a_stream_cut_anywhere_is_refused() -> None:
    content = ipc(TABLE)
    for cut in range(len(content)):
        assert refused(content[:cut]).kind == "malformed"


def test_a_buffer_that_states_a_huge_size_is_refused_before_it_is_allocated() -> None:
    content = bytearray(ipc(pa.table({"text": ["x" * 4000]}), compression="zstd"))
    before = pa.total_allocated_bytes()
    at = content.find(struct.pack("<q", 4000) + b"\x28\xb5\x2f\xfd")
    assert at > 0
    content[at : at + 8] = struct.pack("<q", 1 << 40)
    assert refused(bytes(content)).kind == "too-large"
    assert pa.total_allocated_bytes() - before < 1 << 20


def test_a_small_body_that_expands_far_is_refused() -> None:
    bomb = ipc(pa.table({"text": ["a" * (100 << 20)]}), compression="zstd")
    assert len(bomb) < 20_000
    problem = refused(bomb)
    assert problem.kind == "too-large"
    assert "expands to" in problem.detail


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["x"]).dictionary_encode(),
        pa.array(["x"], pa.string_view()),
        pa.array([["x"]]),
        pa.RunEndEncodedArray.from_arrays(pa.array([1], pa.int32()), pa.array(["x"])),
    ],
)
def test_types_that_let_few_bytes_stand_for_many_are_refused(column: pa.Array) -> None:
    assert refused(ipc(pa.table({"text": column}))).kind == "unprocessable"


def test_a_dictionary_with_long_words_is_refused() -> None:
    column = pa.array(["u" * 10_000] * 100).dictionary_encode()
    assert "longer than" in refused(ipc(pa.table({"text": ["a"] * 100, "channel": column}))).detail


@contextlib.contextmanager
def counted() -> Iterator[pa.MemoryPool]:
    """Counts what Arrow allocates."""
    before = pa.default_memory_pool()
    pool = pa.proxy_memory_pool(before)
    pa.set_memory_pool(pool)
    try:
        yield pool
    finally:
        pa.set_memory_pool(before)


def dictionary(words: list[str], code: int = 0) -> pa.RecordBatch:
    column = pa.DictionaryArray.from_arrays(pa.array([code], pa.int32()), pa.array(words))
    return pa.RecordBatch.from_arrays([pa.array(["a"]), column], names=["text", "channel"])


def written(batches: list[pa.RecordBatch], **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batches[0].schema, options=pa.ipc.IpcWriteOptions(**options)) as stream:
        for batch in batches:
            stream.write_batch(batch)
    return bytes(sink.getvalue())


def test_a_dictionary_of_very_many_words_is_refused() -> None:
    assert read(written([dictionary(["user"] * MAX_WORDS)])).num_rows == 1
    assert "257 entries" in refused(written([dictionary(["user"] * (MAX_WORDS + 1))])).detail
    assert refused(written([dictionary(["user"] * 5_000_000)], compression="zstd")).kind == "too-large"


def test_a_dictionary_that_states_fewer_words_than_it_has_is_refused() -> None:
    content = bytearray(written([dictionary(["user"] * 300)]))
    at = 8 + struct.unpack_from("<I", content, 4)[0]
    metadata = bytes(content[at + 8 : at + 8 + struct.unpack_from("<I", content, at + 4)[0]])
    message = Flat.root(metadata).table(2)
    assert message is not None
    inner = message.table(1)
    assert inner is not None
    place = at + 8 + inner.place(0)
    assert struct.unpack_from("<q", content, place) == (300,)
    struct.pack_into("<q", content, place, 1)
    assert "300 entries" in refused(bytes(content)).detail


def test_a_long_word_is_refused_before_it_is_decompressed() -> None:
    content = written([dictionary(["user", "u" * (32 << 20)])], compression="zstd")
    with counted() as pool:
        assert refused(content).kind == "too-large"
        assert pool.max_memory() < 1 << 20


def test_each_batch_of_a_long_stream_may_have_a_dictionary_of_its_own() -> None:
    batches = [dictionary(["user", "tool", f"unused {i}"], i % 2) for i in range(200)]
    found = read(written(batches), max_message_bytes=4000)
    assert found.column("channel").to_pylist() == ["user", "tool"] * 100


def test_a_dictionary_that_grows_does_so_up_to_a_bound() -> None:
    words = ["user", "tool", *(f"unused {i}" for i in range(400))]
    batches = [dictionary(words[: 2 + i], 1) for i in range(300)]
    few = written(batches[:200], emit_dictionary_deltas=True)
    assert read(few).column("channel").to_pylist() == ["tool"] * 200
    assert refused(written(batches, emit_dictionary_deltas=True)).kind == "too-large"


def test_batches_without_rows_are_not_decompressed() -> None:
    schema = pa.schema([("text", pa.string()), ("session_id", pa.string())])
    full = written([pa.record_batch([["a"], ["s" * (32 << 20)]], schema=schema)], compression="zstd")
    start = 8 + struct.unpack_from("<I", full, 4)[0]
    empty = bytearray(full[start:-8])
    metadata = bytes(empty[8 : 8 + struct.unpack_from("<I", empty, 4)[0]])
    batch = Flat.root(metadata).table(2)
    assert batch is not None
    nodes, count = batch.vector(1)
    assert count == 2
    for place in (batch.place(0), nodes, nodes + 16):
        assert struct.unpack_from("<q", empty, 8 + place) == (1,)
        struct.pack_into("<q", empty, 8 + place, 0)
    with counted() as pool:
        assert read(full[:start] + bytes(empty) * 3 + END).num_rows == 0
        assert pool.max_memory() < 1 << 20
        mixed = full[:start] + bytes(empty) + full[start:]
        assert read(mixed, max_row_bytes=64 << 20).column("request_id").to_pylist() == ["0"]
        assert pool.max_memory() > 32 << 20


def test_what_does_not_fit_is_refused_although_there_are_no_rows() -> None:
    assert refused(ipc(pa.table({"text": pa.array([], pa.float64())}))).kind == "unprocessable"
    twice = pa.table([["a"], *[pa.array(["user"]).dictionary_encode()] * 2], names=["text", "channel", "channel"])
    assert "2 columns" in refused(ipc(twice)).detail


@pytest.mark.parametrize("column", ["text", "session_id", "unknown"])
def test_a_row_that_expands_far_is_refused_before_it_is_decompressed(column: str) -> None:
    table = pa.table({"text": ["a"]} | {column: ["b" * (32 << 20)]})
    content = ipc(table, compression="zstd")
    assert len(content) < 10_000
    with counted() as pool:
        problem = refused(content)
        assert pool.max_memory() < 1 << 20
    assert problem.kind == "too-large"
    assert "1 row" in problem.detail
    # As many bytes for more rows are as many requests.
    assert read(ipc(pa.table({"text": ["b" * (1 << 20)] * 32}), compression="zstd")).num_rows == 32


def test_very_many_rows_are_refused_before_they_are_decompressed() -> None:
    content = ipc(pa.table({"text": pa.array([""] * 1_000_000)}), compression="zstd")
    assert len(content) < 1000
    with counted() as pool:
        assert "1000000 rows" in refused(content).detail
        assert pool.max_memory() < 1 << 20
    table = pa.table({"text": [""] * MAX_ROWS})
    assert read(ipc(table, compression="zstd")).num_rows == MAX_ROWS


def test_nothing_is_decompressed_before_it_is_asked_for() -> None:
    content = ipc(pa.table({"text": ["a" * (1 << 20)] * 8}), compression="zstd")
    reader = Reader()
    with counted() as pool:
        reader.feed(content)
        coming = reader.coming()
        assert coming is not None
        assert (coming.rows, coming.expanded > 8 << 20, coming.size < 10_000) == (8, True, True)
        assert reader.coming() == coming
        assert pool.max_memory() < 1 << 20
    assert reader.needed_bytes >= coming.size
    batch = reader.batch()
    assert (batch.num_rows, batch.nbytes > 8 << 20) == (8, True)
    assert reader.coming() is None
    reader.end()


def test_a_message_that_has_come_is_copied_once_until_it_is_asked_for() -> None:
    content = ipc(pa.table({"text": ["a" * (1 << 20)] * 8}))
    reader = Reader()
    tracemalloc.start()
    try:
        reader.feed(content)
        assert reader.coming() is not None
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2.5 * len(content)


def test_a_long_word_among_empty_ones_is_not_repeated_for_each_row() -> None:
    codes = pa.array([0] * 5000, pa.int8())
    column = pa.DictionaryArray.from_arrays(codes, pa.array(["u" * 60_000] + [""] * 255))
    content = ipc(pa.table({"text": [""] * 5000, "channel": column}), compression="zstd")
    assert len(content) < 1000
    with counted() as pool:
        assert "longer than" in refused(content).detail
        assert pool.max_memory() < 2 << 20


def test_what_a_refusal_quotes_is_short() -> None:
    for column in ("channel", "turn", "ts"):
        assert len(str(refused(ipc(pa.table({"text": ["a"], column: ["b" * 100_000]}))))) < 400


def test_rows_that_cost_nothing_are_refused() -> None:
    # Null columns have no buffers, so any number of rows fits into nothing.
    batch = pa.RecordBatch.from_arrays([pa.nulls(2_000_000)], names=["text"])
    assert refused(ipc(batch)).kind == "malformed"


def test_offsets_that_point_elsewhere_are_refused() -> None:
    offsets = pa.py_buffer(struct.pack("<qqq", 0, 1 << 33, 2))
    text = pa.Array.from_buffers(pa.large_string(), 2, [None, offsets, pa.py_buffer(b"ab")])
    assert refused(ipc(pa.RecordBatch.from_arrays([text], names=["text"]))).kind == "malformed"


def test_invalid_utf8_is_kept_in_a_text_and_refused_in_a_name() -> None:
    def table(name: str) -> bytes:
        raw = pa.array([b"\xff\xfe", b"b"], pa.large_binary())
        bad = pa.Array.from_buffers(pa.large_string(), 2, raw.buffers())
        columns: dict[str, Any] = {"text": ["a", "b"], name: bad}
        return ipc(pa.table(columns))

    assert read(table("text")).num_rows == 2
    assert refused(table("session_id")).kind == "malformed"


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (pa.table({"prompt": ["a"]}), "the columns are prompt"),
        (pa.table({"text": ["a"], "channel": ["root"]}), "'root'"),
        (pa.table({"text": ["a"], "turn": ["x"]}), "cannot become int64"),
        (pa.table({"text": [1.5]}), "holds double"),
    ],
)
def test_what_does_not_fit_the_contract_names_the_column(table: pa.Table, said: str) -> None:
    problem = refused(ipc(table))
    assert problem.status == 422
    assert said in problem.detail


def test_an_unfit_row_is_counted_over_batches() -> None:
    good, bad = pa.table({"text": ["a", "b"], "channel": ["user"] * 2}), pa.table({"text": ["a"], "channel": ["x"]})
    problem = refused(ipc(pa.Table.from_batches([*good.to_batches(), *bad.to_batches()])))
    assert problem.extra == {"column": "channel", "row": 2, "known": list(CHANNELS)}


def test_messages_out_of_order_are_refused() -> None:
    content = ipc(TABLE)
    (size,) = struct.unpack_from("<I", content, 4)
    schema, rest = content[: 8 + size], content[8 + size :]
    assert refused(rest).kind == "malformed"
    assert refused(schema + schema + rest).kind == "malformed"
    assert refused(content + b"more").kind == "malformed"


def test_a_message_beyond_the_limit_is_refused_before_it_has_come() -> None:
    content = ipc(pa.table({"text": ["x" * 100_000]}))
    reader = Reader(max_message_bytes=50_000)
    reader.feed(content[:2000])
    with pytest.raises(Problem) as caught:
        reader.coming()
    assert caught.value.kind == "too-large"


def test_no_mutation_of_a_stream_does_more_than_be_read_or_refused() -> None:
    random = Random(11)
    originals = [
        ipc(TABLE),
        ipc(TABLE, compression="zstd"),
        ipc(TABLE.set_column(1, "channel", TABLE.column(1).dictionary_encode())),
    ]
    outcomes = {"read": 0, "refused": 0}
    for i in range(3000):
        content = bytearray(originals[i % 3])
        for _ in range(random.randint(1, 4)):
            content[random.randrange(len(content))] = random.randrange(256)
        if random.random() < 0.2:
            del content[random.randrange(len(content)) :]
        try:
            read(bytes(content), max_expanded_bytes=1 << 20)
            outcomes["read"] += 1
        except Problem:
            outcomes["refused"] += 1
    assert outcomes["refused"] > 300
    assert outcomes["read"] > 50


def test_no_mutation_makes_the_service_fail() -> None:
    random = Random(12)
    original = ipc(TABLE)
    for _ in range(300):
        content = bytearray(original)
        content[random.randrange(len(content))] ^= 1 << random.randrange(8)
        desk = Desk()
        exchange = desk.ask("/v1/screen/batch", bytes(content), ARROW)
        assert exchange.status in (200, 400, 413, 422)
        if exchange.status == 200:
            pa.ipc.open_stream(taken(exchange)).read_all()
        assert desk.service.idle


def test_a_writer_gives_a_stream_that_any_reader_takes() -> None:
    desk = Desk()
    batch = pa.RecordBatch.from_arrays([pa.array(["a", "b"])], names=["text"])
    from aimds.schema import requests

    verdicts = desk.screener.screen_batch(requests(batch))
    failed = desk.screener.unjudged(requests(batch), "no")
    writer = Writer()
    content = writer.batch(verdicts) + writer.batch(failed) + writer.end()
    found = pa.ipc.open_stream(content).read_all()
    assert found.column("status").to_pylist() == ["ok", "ok", "error", "error"]
