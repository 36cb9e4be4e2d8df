"""Location of the YAML files shipped with archsearch: beside the package, or inside it once installed."""

from pathlib import Path


def shipped(folder: str) -> Path:
    """Return the folder ``search_spaces`` or ``studies`` of a checkout or of an installed wheel."""
    package = Path(__file__).resolve().parents[1]
    inside = package / folder
    return inside if inside.is_dir() else package.parent / folder
