"""Samplers: which architecture of a space is evaluated next."""
