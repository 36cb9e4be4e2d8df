"""Engines: where the candidates of a study are evaluated."""
