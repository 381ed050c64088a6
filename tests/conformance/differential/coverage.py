"""Whether the corpus has a case for every route of the installed MLflow."""

import json
import subprocess
import sys
from pathlib import Path

from .corpus.case import Case

ENUMERATE = Path(__file__).parents[1] / "enumerate_routes.py"


def missing_routes(cases: list[Case]) -> list[str]:
    output = subprocess.run([sys.executable, str(ENUMERATE)], check=True, capture_output=True).stdout
    have = {(case.method, prefix + case.path) for case in cases if not case.spelling for prefix in case.prefixes()}
    return [
        f"{route['method']} {route['path']}"
        for route in json.loads(output)
        if (route["method"], route["path"]) not in have
    ]
