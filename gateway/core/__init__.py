"""Rules without database, network and clock: what could be tried on paper.

Here: the error tree, intervals, the ways a span of time counts, what people type.
"""
