"""The official MLflow client, as one user at a time."""

import contextlib
import os

import mlflow

VARIABLES = ["MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"]
VARIABLES += ["MLFLOW_TRACKING_TOKEN", "MLFLOW_HTTP_REQUEST_MAX_RETRIES"]


@contextlib.contextmanager
def acting_as(gate, credential):
    """Sets what a user would export, and yields a client.

    `credential` is a pair of user name and password, a bearer token, or None.
    """
    values = {"MLFLOW_TRACKING_URI": gate.url, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
    if isinstance(credential, tuple):
        values["MLFLOW_TRACKING_USERNAME"], values["MLFLOW_TRACKING_PASSWORD"] = credential
    elif credential:
        values["MLFLOW_TRACKING_TOKEN"] = credential
    before = {name: os.environ.pop(name, None) for name in VARIABLES}
    os.environ.update(values)
    mlflow.set_tracking_uri(gate.url)
    try:
        yield mlflow.MlflowClient(gate.url)
    finally:
        for name in VARIABLES:
            os.environ.pop(name, None)
        os.environ.update({name: value for name, value in before.items() if value is not None})
