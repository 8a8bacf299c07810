"""Parts of a self-contained HTML page. Elements are built as trees, so that all text is escaped."""

import base64
import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --mark: #e8a33d55; }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; padding: 1rem; max-width: 80rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; border-bottom: 1px solid var(--line); }
p.note { opacity: 0.75; font-size: 0.9rem; }
figure { margin: 1rem 0; } figure img { max-width: 100%; height: auto; background: #fff; border-radius: 4px; }
figcaption { font-size: 0.9rem; opacity: 0.75; overflow-wrap: anywhere; }
div.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.9rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.3rem 0.7rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
td { overflow-wrap: break-word; max-width: 28rem; } th { background: var(--soft); white-space: nowrap; }
tbody th { white-space: normal; overflow-wrap: anywhere; min-width: 9rem; max-width: 16rem; }
@media (min-width: 40rem) { tbody th { white-space: pre; max-width: none; } }
@media (max-width: 40rem) {
  th, td { padding: 0.2rem 0.4rem; } thead th { white-space: normal; }
  figure { overflow-x: auto; } figure img.figure { max-width: none; width: 40rem; }
  figure img.figures { max-width: none; width: 70rem; }
}
tr.differs td { background: var(--mark); }
nav a { margin-right: 1rem; } details summary { cursor: pointer; }
"""


def new_page(title: str) -> tuple[Element, Element]:
    """Start a page.

    Args:
        title: Its title.

    Returns:
        The whole document, and its body.
    """
    html = Element("html", lang="en")
    head = SubElement(html, "head")
    SubElement(head, "meta", charset="utf-8")
    SubElement(head, "meta", name="viewport", content="width=device-width, initial-scale=1")
    add(head, "title", title)
    add(head, "style", STYLE)
    # An icon of its own, so that browsers do not ask for one.
    SubElement(head, "link", rel="icon", href="data:,")
    body = SubElement(html, "body")
    add(body, "h1", title)
    return html, body


def render(html: Element) -> str:
    """Write a document as text."""
    indent(html, "")
    return "<!DOCTYPE html>\n" + tostring(html, encoding="unicode", method="html") + "\n"


def add(parent: Element, tag: str, text: str = "", **attributes: str) -> Element:
    """Add an element with text."""
    element = SubElement(parent, tag, attributes)
    element.text = text
    return element


def add_section(parent: Element, anchor: str, title: str, note: str = "") -> Element:
    """Add a section with a title, and a note where there is one."""
    section = SubElement(parent, "section", id=anchor)
    add(section, "h2", title)
    if note:
        add(section, "p", note, **{"class": "note"})
    return section


def add_table(
    parent: Element, header: Sequence[str], rows: Sequence[Sequence[str]], marked: Sequence[bool] | None = None
) -> None:
    """Add a table.

    Args:
        parent: Where.
        header: Names of the columns.
        rows: The cells of each row.
        marked: Which rows to highlight; None for none.
    """
    table = SubElement(SubElement(parent, "div", {"class": "wide"}), "table")
    head = SubElement(SubElement(table, "thead"), "tr")
    for name in header:
        add(head, "th", name, scope="col")
    body = SubElement(table, "tbody")
    for i, cells in enumerate(rows):
        row = SubElement(body, "tr", {"class": "differs"} if marked and marked[i] else {})
        for j, cell in enumerate(cells):
            # An interval is not divided at the end of a line.
            text = re.sub(r"\[(\S+), (\S+)\]", "[\\1,\u00a0\\2]", cell)
            add(row, "td" if j else "th", text, **({} if j else {"scope": "row"}))


def add_image(parent: Element, data: bytes, kind: str, caption: str, content: str = "picture") -> None:
    """Add a picture, which becomes part of the page.

    Args:
        parent: Where.
        data: The file.
        kind: Its type, such as `png` or `gif`.
        caption: What it shows.
        content: `"figure"` where it has text that is to be read on a phone, too: it is wider than that, and moved there
            by the finger; `"figures"` where it has several side by side.
    """
    figure = SubElement(parent, "figure")
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
    SubElement(figure, "img", {"class": content, "src": source, "alt": caption, "loading": "lazy"})
    add(figure, "figcaption", caption)


def add_figure(
    parent: Element, draw: Callable[[Any], None], caption: str, size: tuple[float, float] = (8.0, 4.5)
) -> None:
    """Add a figure that `draw` draws into a matplotlib figure of a size in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    draw(figure)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    add_image(parent, file.getvalue(), "png", caption, "figure")


def interval_text(summary: Mapping[str, Any], name: str) -> str:
    """A statistic with its interval, where there is one."""
    interval = summary[f"{name}_interval_95"]
    return f"{summary[name]:.3f}" + ("" if interval is None else f" [{interval[0]:.3f}, {interval[1]:.3f}]")
