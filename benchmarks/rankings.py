"""What is known of how recipes rank: the table that ships, made of the committed records of ``fidelity``.

    python benchmarks/rankings.py

reads every ``studies/results/fidelity-SPACE-DATA-MACHINE.csv`` that says its recipes, and writes
``studies/results/rankings.json``, which studies look up. DATA is a name that ``archsearch.rankings.words`` puts into
words. The table is never written by hand: a test makes it again.
"""

from pathlib import Path

from archsearch.fidelity.measured_rankings import rankings_of
from archsearch.fidelity.training_records import read_records
from archsearch.rankings.known import TABLE, Ranking, rankings_text
from archsearch.rankings.words import title_of


def committed(folder: Path = TABLE.parent) -> list[Ranking]:
    """Return the rankings of all committed records, oldest measurement first."""
    found = [
        ranking
        for path in sorted(folder.glob("fidelity-*-*-*.csv"))
        for ranking in rankings_of(read_records(path), path.name, title_of(path.stem.split("-")[2]))
    ]
    return sorted(found, key=lambda ranking: ranking.date)


def main() -> None:
    """Write the table."""
    found = committed()
    TABLE.write_text(rankings_text(found), encoding="utf-8")
    print(f"{len(found)} rankings in {TABLE}")


if __name__ == "__main__":
    main()
