"""Fidelity of proxies: how well short trainings rank architectures that long ones are the judge of."""
