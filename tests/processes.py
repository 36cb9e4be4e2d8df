"""Processes of a program under test, as Linux lists them."""

from pathlib import Path


def children(pid):
    """Processes that were started by one, however indirectly."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    found = [int(word) for task in tasks for word in task.read_text().split()]
    return found + [deeper for child in found for deeper in children(child)]


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
