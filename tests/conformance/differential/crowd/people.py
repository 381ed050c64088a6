"""Who searches, and which of the objects each may read."""

from dataclasses import dataclass

from ..http_client import Admin
from ..provision import V2, V3, add_permission, create_role
from ..users import PASSWORD
from .world import READABLE, Thing

# Resource types with grants by id → the key of that id.
TYPES = {
    "experiment": "exp",
    "registered_model": "rm",
    "prompt": "prompt",
    "scorer": "scorer_key",
    "gateway_secret": "secret",
    "gateway_endpoint": "endpoint",
    "gateway_model_definition": "definition",
    "mcp_server": "mcp",
}
SEVEN = frozenset(READABLE)


@dataclass(frozen=True)
class Person:
    name: str
    # Level on the seven, and on everything.
    on_seven: str | None = None
    on_all: str | None = None
    # Further grants on `*`.
    more: tuple[tuple[str, str], ...] = ()

    def reads(self, index: int, default_permission: str) -> bool:
        """Whether any grant lets them read objects of this index: what is then shown is no leak."""
        if index in SEVEN and self.on_seven:
            return self.on_seven != "DENY"
        workspace = any(resource == "workspace" for resource, _ in self.more)
        return bool(self.on_all) or workspace or default_permission != "NO_PERMISSIONS"


PEOPLE = (
    Person("nobody"),
    Person("reader-of-seven", on_seven="READ"),
    Person("manager-of-seven", on_seven="MANAGE"),
    Person("reader-of-seven-without-runs", on_seven="READ", more=(("run", "DENY"), ("logged_model", "DENY"))),
    Person("reader-of-all-but-seven", on_seven="DENY", on_all="READ"),
    Person("denied-seven", on_seven="DENY"),
    Person("member-of-the-workspace", on_seven="DENY", more=(("workspace", "USE"),)),
)


def register(admin: Admin, things: list[Thing]) -> None:
    for person in PEOPLE:
        admin.call("POST", V2 + "users/create", {"username": person.name, "password": PASSWORD})
        role = create_role(admin, "role of " + person.name)
        for resource, key in TYPES.items():
            if person.on_all:
                add_permission(admin, role, resource, "*", person.on_all)
            for index in READABLE if person.on_seven else ():
                add_permission(admin, role, resource, things[index][key], person.on_seven)
        for resource, level in person.more:
            add_permission(admin, role, resource, "*", level)
        admin.call("POST", V3 + "roles/assign", {"username": person.name, "role_id": role})
