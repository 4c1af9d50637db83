"""HTML as plain Python: everything that is not marked as HTML is escaped, so that no name can become markup."""

from __future__ import annotations

import base64
import gzip
import html
import json
from typing import Any

_EMPTY = frozenset({"img", "meta", "br", "hr", "col", "input"})


class Html(str):
    """Text that is HTML already; made by `element` and `join` alone."""

    __slots__ = ()


def escaped(content: object) -> Html:
    """Return text as HTML: the same when it is HTML already.

    Examples
    --------
    >>> escaped("<b>"), escaped(Html("<b>"))
    ('&lt;b&gt;', '<b>')
    """
    return content if isinstance(content, Html) else Html(html.escape(str(content), quote=True))


def join(*parts: object, by: str = "") -> Html:
    """Return parts one after the other, each escaped as needed; None is left out."""
    return Html(escaped(by).join(escaped(part) for part in parts if part is not None))


def element(tag: str, *children: object, **attributes: Any) -> Html:
    """Return an element.

    Parameters
    ----------
    tag : str
    *children : object
        Escaped unless they are `Html`; None is left out.
    **attributes
        ``class_`` is the attribute class, ``aria_sort`` is aria-sort; True gives a bare attribute, None and False none.

    Examples
    --------
    >>> element("p", "1 < 2", class_="note")
    '<p class="note">1 &lt; 2</p>'
    """
    parts = [tag]
    for name, value in attributes.items():
        label = name.rstrip("_").replace("_", "-")
        if value is True:
            parts.append(label)
        elif value is not None and value is not False:
            parts.append(f'{label}="{escaped(str(value))}"')
    opening = f"<{' '.join(parts)}>"
    return Html(opening if tag in _EMPTY else f"{opening}{join(*children)}</{tag}>")


def data_uri(data: bytes, kind: str) -> str:
    """Return bytes as an address that holds them."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def packed_json(name: str, value: Any) -> Html:
    """Return data for the page's script: JSON, compressed, in base64, so that nothing in it can be taken for markup."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    packed = base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode("ascii")
    return element("script", packed, type="application/octet-stream", id=name)


def paragraph(*children: object, class_: str | None = None) -> Html:
    """Return a paragraph."""
    return element("p", *children, class_=class_)


def how_to_read(*children: object) -> Html:
    """Return the short explanation under a table or figure."""
    return element("p", element("strong", "How to read it. "), *children, class_="how")


def missing(*children: object) -> Html:
    """Return the words that stand in place of what is not there."""
    return element("p", *children, class_="missing")


def counted(number: int, what: str) -> str:
    """Return a number with its noun.

    Examples
    --------
    >>> counted(1, "song"), counted(2597, "pair")
    ('1 song', '2\\u202f597 pairs')
    """
    return f"{number:,} {what}{'s' * (number != 1)}".replace(",", "\u202f")
