"""How much of the real rows a synthetic dataset keeps: marginals, correlations, tasks, segments. No IO, no values.

Every figure stands beside that of the hold-out: rows of units that the engine never saw differ from the training rows
by sampling alone, so that is what a perfect engine would reach. The figures are measured on real rows without noise;
they are evidence for the release, and no guarantee of differential privacy covers them.
"""
