"""From an architecture to its scores, cheapest first, here and in worker processes."""
