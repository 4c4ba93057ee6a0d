"""Cards: people's text stays, zooadapt's block is replaced, and names are escaped."""

import pytest

from zooadapt.errors import DataError
from zooadapt.zoo.hub import card

OURS = card.join(
    {"license": "mit", "tags": ["zooadapt"], "library_name": "timm"},
    f"\n{card.BEGIN}\n# 3 classes\n{card.END}\n",
)


@pytest.mark.parametrize(
    "theirs",
    [
        None,
        "",
        "# By hand\n",
        "---\nlanguage: de\n---\n# By hand\n",
        "---\r\nlanguage: de\r\n---\r\n# By hand\r\n",
        "\ufeff---\nlanguage: de\n---\n",
        "---\n---\n",
        OURS,
        OURS.replace("3 classes", "9 classes") + "\nThe end",
        f"before {card.BEGIN} x {card.END} after {card.BEGIN} y {card.END}",
    ],
)
def test_merging_again_changes_nothing(theirs):
    once = card.merge(OURS, theirs)
    assert card.merge(OURS, once) == once
    front, body = card.split(once, where="README.md")
    assert "# 3 classes" in body and "9 classes" not in body and card.is_ours(once)
    assert front["license"] == "mit" and front["tags"] == ["zooadapt"]
    if theirs and "By hand" in theirs:
        assert "# By hand" in body
    if theirs and "language" in theirs:
        assert front["language"] == "de"
    if theirs and "after" in theirs:
        assert body.startswith("before") and f"after {card.BEGIN} y" in body


def test_their_licence_and_tags_stay_and_our_keys_replace_theirs():
    theirs = "---\nlicense: gpl-3.0\ntags: flowers\nlibrary_name: x\n---\n"
    front, _ = card.split(card.merge(OURS, theirs), where="README.md")
    assert front == {"license": "gpl-3.0", "tags": ["flowers", "zooadapt"], "library_name": "timm"}


def test_text_with_backslashes_stays_literal():
    ours = OURS.replace("3 classes", r"\1 \g<0> 3 classes")
    assert r"\1 \g<0> 3 classes" in card.merge(ours, OURS)


@pytest.mark.parametrize(
    "front", ["[", "- a", "a: *b", "a: !!python/name:os.system", "x" * 100_001]
)
def test_unreadable_front_matter_is_named(front):
    with pytest.raises(DataError, match="front matter of 'the card'"):
        card.split(f"---\n{front}\n---\n", where="the card")


@pytest.mark.parametrize("text", ["", "# no\n---\nfront: 1\n---\n", "---\nno end", "--- \n x"])
def test_text_without_front_matter_is_body(text):
    assert card.split(text, where="README.md") == ({}, text)
