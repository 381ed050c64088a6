"""Compares the gate's decisions with those of MLflow's own `basic-auth` application.

Every request of the corpus is sent as every user of a grant matrix to `mlflow server --app-name
basic-auth`, unmodified, and through the gate; both have the same objects, the same users and the
same grants. The gate must never let a request through that the reference denies, and where it is
stricter the case must be on the written list, `stricter.json`.
"""
