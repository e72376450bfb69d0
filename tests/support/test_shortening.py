from functa_store.support.shortening import brief, shown


def test_texts_of_strangers_are_cut():
    assert shown("a" * 100) == "a" * 100
    assert shown("a" * 101) == "a" * 100 + "..."
    assert shown("abc", 2) == "ab..."


def test_values_are_cut_and_may_be_too_large_for_python_to_write():
    assert brief("a") == "'a'"
    assert brief(list(range(1000)), 6) == "[0, 1,..."
    assert brief(10**10_000) == "int that is too large to show"
    nested = []
    for _ in range(100_000):
        nested = [nested]
    assert brief(nested) == "list that is too large to show"
    while nested:  # from outside, since Python would take each apart inside the one around it
        nested = nested[0]
