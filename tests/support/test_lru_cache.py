"""What is kept costs no more than the limit, and is what was used last."""

from hypothesis import given
from hypothesis import strategies as st

from functa_store.support.memory import LRUCache

uses = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 6), st.booleans()))


@given(st.integers(0, 10), uses)
def test_the_last_used_that_fit_are_kept(limit, uses):
    recent, order = LRUCache[int](limit), []
    for key, cost, puts in uses:
        known = dict(order)
        if puts:
            order = [entry for entry in order if entry[0] != key]
            if cost <= limit:
                order.append((key, cost))
            while sum(cost for _, cost in order) > limit:
                order.pop(0)
            recent.put(key, key, cost)
        else:
            assert recent.get(key) == (key if key in known else None)
            if key in known:
                order = [entry for entry in order if entry[0] != key] + [(key, known[key])]
        assert recent.cost == sum(cost for _, cost in order) <= limit
        assert len(recent) == len(order)


def test_without_a_limit_to_speak_of_nothing_is_kept():
    recent = LRUCache[str](0)
    recent.put("key", "value", 1)
    assert recent.get("key") is None


def test_what_is_cut_from_one_large_value_makes_it_once():
    made: list[str] = []
    cache = LRUCache[str](10, keeps_last=True)

    def value(key, cost):
        return cache.get_or_make(key, lambda: made.append(key) or key * 2, lambda _: cost)

    assert [value(key, 5) for key in "ababa"] == ["aa", "bb", "aa", "bb", "aa"]
    assert made == ["a", "b"]
    assert [value("c", 99), value("c", 99), value("a", 5), value("c", 99)] == ["cc", "cc", "aa", "cc"]
    assert made == ["a", "b", "c", "a", "c"]
