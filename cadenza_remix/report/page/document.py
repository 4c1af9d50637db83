"""The page: its sections put together with style and script into one file that loads nothing from anywhere."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources

from cadenza_remix.report.page.markup import Html, element, escaped, join


@dataclass(frozen=True)
class Section:
    """A part of the page: ``id`` for links, its title, a sentence on what it tells, and what is in it."""

    id: str
    title: str
    lead: str
    body: Html


def document(title: str, subtitle: str, sections: Sequence[Section], *, made: datetime | None = None) -> str:
    """Return the whole page.

    Its security policy lets nothing be loaded, and no style or script run but the page's own two, by their digests: a
    song of whatever name can add none.
    """
    style, script = (_resource(name) for name in ("report.css", "report.js"))
    policy = (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; img-src data:; "
        "media-src data:; base-uri 'none'; form-action 'none'"
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="generator", content="cadenza-remix report"),
        element("title", title),
        Html(f"<style>{style}</style>"),
    )
    when = (made or datetime.now(UTC)).strftime("%Y-%m-%d %H:%M UTC")
    links = element("ol", *(element("li", element("a", section.title, href=f"#{section.id}")) for section in sections))
    body = element(
        "body",
        element("a", "To the contents", href="#content", class_="skip"),
        element(
            "div",
            element("header", element("h1", title), element("p", subtitle), element("p", f"Made on {when}.")),
            element("nav", links, aria_label="Contents"),
            element("main", *map(_section, sections), id="content"),
            element("footer", "Made by cadenza-remix report. This file holds everything it shows and loads nothing."),
            class_="layout",
        ),
        Html(f"<script>{script}</script>"),
    )
    return f'<!DOCTYPE html>\n<html lang="en">{join(head, body)}</html>\n'


def _section(section: Section) -> Html:
    heading = f"{section.id}-title"
    return element(
        "section",
        element("h2", section.title, id=heading),
        element("p", section.lead, class_="lead"),
        section.body,
        id=section.id,
        aria_labelledby=heading,
    )


def _resource(name: str) -> str:
    text = resources.files("cadenza_remix.report.page").joinpath(name).read_text(encoding="utf-8")
    assert "</" not in text, f"{name} would end its own element: {escaped(name)}"
    return text


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}"
