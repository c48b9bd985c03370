"""The score cache: bounded by bytes, least recently used first out, no two texts under one key."""

from hypothesis import given
from hypothesis import strategies as st

from aimds.detect.cache import OVERHEAD_BYTES, Cache


def test_texts_of_equal_length_have_their_own_entries() -> None:
    cache: Cache[str] = Cache(1 << 20, "scope")
    texts = [b"aaaa", b"aaab", b"baaa", b"\x00aaa"]
    for text in texts:
        cache.put(cache.key(text, 0), text.decode("latin1"), 10)
    assert [cache.get(cache.key(text, 0)) for text in texts] == [text.decode("latin1") for text in texts]


def test_the_channel_is_part_of_the_key() -> None:
    cache: Cache[str] = Cache(1 << 20, "scope")
    cache.put(cache.key(b"text", 0), "user", 10)
    assert cache.get(cache.key(b"text", 3)) is None


def test_two_scopes_and_two_caches_have_different_keys() -> None:
    assert Cache[str](10, "a").key(b"x", 0) != Cache[str](10, "b").key(b"x", 0)
    assert Cache[str](10, "a").key(b"x", 0) != Cache[str](10, "a").key(b"x", 0)


def test_the_least_recently_used_entry_makes_room() -> None:
    cost = 100 + OVERHEAD_BYTES
    cache: Cache[int] = Cache(3 * cost, "scope")
    for name in b"abc":
        cache.put(bytes([name]), name, 100)
    assert cache.get(b"a") == ord("a")
    cache.put(b"d", ord("d"), 100)
    assert cache.get(b"b") is None
    assert cache.get(b"a") == ord("a")


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 400)), max_size=80))
def test_used_bytes_never_pass_the_bound(puts: list[tuple[int, int]]) -> None:
    cache: Cache[int] = Cache(2000, "scope")
    for name, size in puts:
        cache.put(bytes([name]), name, size)
        assert 0 <= cache.stats.used_bytes <= 2000
    cache.clear()
    assert cache.stats.entries == cache.stats.used_bytes == 0


def test_an_entry_larger_than_the_cache_is_not_kept() -> None:
    cache: Cache[int] = Cache(1000, "scope")
    cache.put(b"k", 1, 5000)
    assert cache.get(b"k") is None
    assert cache.stats.misses == 1
