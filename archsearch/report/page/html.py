"""The page as one HTML file with everything in it, which opens without a network."""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from plotly.offline import get_plotlyjs

from archsearch.ablation.analysis import Report
from archsearch.ablation.figures import ablation_data
from archsearch.report.page.payload import page_data
from archsearch.report.view import StudyView
from archsearch.utils.whole_file import replacing

ASSETS = Path(__file__).with_name("assets")
SCRIPTS = ("store.js", "charts.js", "detail.js", "trials.js", "ablation.js", "confirmation.js", "main.js")


def write_page(path: Path, views: Sequence[StudyView], ablations: Sequence[Report] = ()) -> None:
    """Write the page of studies.

    Args:
        path: File to write; an existing one is replaced in one step.
        views: Searches that share an objective.
        ablations: Ablations, shown below the searches.
    """
    html = page_html(page_content(views, [ablation_data(report) for report in ablations]))
    with replacing(path) as scratch:
        scratch.write_text(html, encoding="utf-8")


def page_content(
    views: Sequence[StudyView], ablations: Sequence[dict[str, Any]] = (), *, trials: bool = True
) -> dict[str, Any]:
    """Return everything that a page shows, ready for JSON.

    Args:
        views: Searches that share an objective.
        ablations: Results of ``ablation_data``.
        trials: Whether to include the searches' trials; a served page asks for them later.
    """
    names = [*(view.name for view in views), *(ablation["name"] for ablation in ablations)]
    return {
        "title": ", ".join(names),
        "live": None,
        **page_data(views, trials=trials),
        "ablations": list(ablations),
    }


def page_html(content: dict[str, Any]) -> str:
    """Return the page with its styles, scripts, plotly.js and data inside."""
    before, after = _around_data()
    return "".join((before, _script_safe(content), after))


@cache
def _around_data() -> tuple[str, str]:
    """Return the parts of the page before and after its data."""
    html = _asset("page.html")
    html = html.replace("/*STYLE*/", _asset("page.css"))
    html = html.replace("/*SCRIPT*/", "\n".join(_asset(name) for name in SCRIPTS))
    before, after = html.split("/*DATA*/")
    return before.replace("/*PLOTLY*/", get_plotlyjs().replace("</script", r"<\/script")), after


def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


def _script_safe(data: Any) -> str:
    """Return JSON in which no text can end the surrounding script element."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
