"""Engines, which evaluate the candidates of a study: in this process, in local workers, or on Ray."""
