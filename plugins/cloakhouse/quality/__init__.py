"""Expectation suites over batches of a dataset, with results that hold no value of the data.

The only room that imports Great Expectations: `expectations` at module level (its classes are needed to
define ours), everything else inside functions.
"""
