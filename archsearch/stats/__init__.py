"""Statistics of scores: Pareto fronts, intervals, noise, paired comparisons, rank agreement."""
