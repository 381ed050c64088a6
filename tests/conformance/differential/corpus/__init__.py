"""Every route that MLflow serves, as concrete requests."""

from . import accounts, gateway, genai, registry, server, spellings, tracking, traces
from .case import Case


def cases() -> list[Case]:
    return [
        case
        for module in (tracking, traces, registry, genai, gateway, server, accounts, spellings)
        for case in module.cases()
    ]
