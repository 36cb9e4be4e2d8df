"""Evaluation of an architecture, cheapest scores first, in this process and in workers."""
