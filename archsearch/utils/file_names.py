"""Names of files after names that people choose."""

import hashlib


def file_name(study_name: str) -> str:
    """Return a valid file name: the study's name where it is plain, else its plain characters and a hash.

    >>> file_name("inception_dw-pareto"), file_name("a/b")
    ('inception_dw-pareto', 'a_b-c14cddc0')
    """
    plain = "".join(c if c.isalnum() or c in "-_." else "_" for c in study_name)[:80]
    if plain == study_name and not plain.startswith("."):
        return plain
    return f"{plain.lstrip('.')}-{hashlib.sha256(study_name.encode()).hexdigest()[:8]}"
