"""Makes a tracking database with one experiment and COUNT runs in it: the tables and columns of
MLflow's that the policy server reads. `mlgate-bench load` knows the runs' ids."""

import sqlite3
import sys

FACTOR = 0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835

path, count = sys.argv[1], int(sys.argv[2])
database = sqlite3.connect(path)
database.executescript("""
    CREATE TABLE experiments (
        experiment_id INTEGER NOT NULL PRIMARY KEY, name VARCHAR(256) NOT NULL,
        artifact_location VARCHAR(256), lifecycle_stage VARCHAR(32));
    CREATE TABLE runs (
        run_uuid VARCHAR(32) NOT NULL PRIMARY KEY, name VARCHAR(250), status VARCHAR(9),
        lifecycle_stage VARCHAR(20), artifact_uri VARCHAR(200), experiment_id INTEGER);
    INSERT INTO experiments VALUES (1, 'bench', '/artifacts/1', 'active');
""")
ids = (f"{(number + 1) * FACTOR % 2**128:032x}" for number in range(count))
database.executemany(
    "INSERT INTO runs VALUES (?, 'run', 'RUNNING', 'active', ?, 1)",
    ((run, f"/artifacts/1/{run}/artifacts") for run in ids),
)
database.commit()
