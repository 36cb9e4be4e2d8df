"""``python cli.py VERB ...``: archsearch from a checkout."""

from archsearch.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
