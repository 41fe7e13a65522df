"""Sections as one HTML page that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from empo_rllib.results.report.parts import ReportSection
from empo_rllib.version import __version__

_TEMPLATES = Path(__file__).parent / "templates"


def render_page(title: str, subtitle: str, sections: Sequence[ReportSection]) -> str:
    """Returns the page.

    Its content security policy admits its own style and script, by their hashes, and pictures
    that it holds itself; no request leaves it.

    Args:
        title: of the page.
        subtitle: the line below.
        sections: in order.
    """
    style, script = (_read(name) for name in ("report.css", "report.js"))
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.jinja").render(
        title=title,
        subtitle=subtitle,
        sections=sections,
        policy=policy,
        style=Markup(style),
        script=Markup(script),
        version=__version__,
    )


def _read(name: str) -> str:
    return (_TEMPLATES / name).read_text("utf-8")


def _hash(text: str) -> str:
    """Returns what a content security policy calls an inline style or script."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
