"""Compares what lists show when a user may read seven of five hundred objects.

Each search is followed page by page, at several page sizes, on MLflow's own `basic-auth` and
through the gate: the same objects in the same order. Every object has a canary in its name, and
every byte that the gate answers is searched for those of objects that the user may not read.
"""
