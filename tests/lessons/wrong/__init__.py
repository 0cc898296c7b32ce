"""Typical wrong answers to the exercises: a file a notebook, a table `WRONG` in each.

WRONG maps an exercise to attempts, each with a part of what the grader has to say about it.
"""
