"""Asking for candidates, recording what became of them; the storage is the one source of truth."""
