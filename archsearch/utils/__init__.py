"""Helpers without a subject of their own: YAML with line numbers, the disk cache, package data, worker processes."""
