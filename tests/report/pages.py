"""Reads a page as a screen reader or a checker does."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import pairwise

VOID = frozenset("area base br col embed hr img input link meta source track wbr".split())
SHAPES = frozenset("line rect circle polyline path".split())
"""Elements of SVG that close themselves."""


@dataclass
class Element:
    """An element with what it holds."""

    name: str
    attributes: dict[str, str] = field(default_factory=dict)
    children: list[Element | str] = field(default_factory=list)

    def all(self, *names: str) -> list[Element]:
        """The elements of these names in it, in the order of the page."""
        inner = [child for child in self.children if isinstance(child, Element)]
        matches = [[child] if child.name in names or not names else [] for child in inner]
        nested = [child.all(*names) for child in inner]
        return [one for own, below in zip(matches, nested, strict=True) for one in (*own, *below)]

    @property
    def text(self) -> str:
        """Its text as a reader sees it."""
        parts = [child if isinstance(child, str) else child.text for child in self.children]
        return " ".join("".join(parts).split())


class Page(HTMLParser):
    """The tree of a page. Raises: AssertionError for elements that are not closed in their order,
    for an attribute that occurs twice."""

    def __init__(self, content: str) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("")
        self.declarations: list[str] = []
        self.comments: list[str] = []
        self._open = [self.root]
        self.feed(content)
        self.close()
        assert self._open == [self.root], [one.name for one in self._open]

    def handle_decl(self, decl: str) -> None:
        self.declarations.append(decl)

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), (tag, attrs)
        element = Element(tag, {name: value or "" for name, value in attrs})
        self._open[-1].children.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in SHAPES, f"<{tag}/> is not closed for a browser"
        self.handle_starttag(tag, attrs)
        self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open[-1].name == tag, (self._open[-1].name, tag)
        self._open.pop()

    def handle_data(self, data: str) -> None:
        self._open[-1].children.append(data)


def check(page: Page) -> None:
    """See that nothing of a page runs or loads anything, and that one who does not see it can read
    it."""
    elements = page.root.all()
    names = {element.name for element in elements}
    active = {"script", "link", "iframe", "object", "embed", "form", "base", "input", "video"}
    assert not names & active
    for element in elements:
        for name, value in element.attributes.items():
            assert not name.startswith("on"), (element.name, name)
            if name in ("src", "href", "xlink:href", "data", "action", "poster", "srcset"):
                kind = "audio" if element.name == "audio" else "image"
                assert value.startswith(f"data:{kind}/"), (element.name, name, value[:40])
            if name == "style":
                assert "url(" not in value
                assert "expression" not in value
    for style in page.root.all("style"):
        assert "url(" not in style.text
        assert "@import" not in style.text
    for image in page.root.all("img"):
        assert "alt" in image.attributes
        assert image.attributes["alt"] or image.attributes["class"] == "heat"
    for player in page.root.all("audio"):
        assert "controls" in player.attributes
        assert player.attributes["aria-label"]
    for svg in page.root.all("svg"):
        if svg.attributes.get("aria-hidden") != "true":
            assert svg.attributes["role"] == "img"
            assert all(svg.all(name)[0].text for name in ("title", "desc"))
    for table in page.root.all("table"):
        assert len([each for each in table.all("caption") if each.text]) == 1
        assert table.all("th")
        for cell in table.all("th"):
            assert cell.attributes["scope"] in ("col", "row")
            assert cell.text
        widths = {len(row.all("td", "th")) for row in table.all("tr")}
        assert len(widths) == 1, (table.all("caption")[0].text, widths)
    for region in page.root.all("div"):
        if region.attributes.get("role") == "region":
            assert region.attributes["aria-label"]
            assert region.attributes["tabindex"] == "0"
    levels = [int(each.name[1]) for each in page.root.all("h1", "h2", "h3", "h4")]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
