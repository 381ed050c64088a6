"""What the end-to-end tests share: a running gate, a recorder in front of MLflow, and clients."""
