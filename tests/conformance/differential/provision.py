"""The same users, roles and grants on either side, by MLflow's REST API for them."""

from . import users as matrix
from .http_client import Admin
from .users import User

ADMIN_NAME = "admin"
ADMIN_PASSWORD = "the-admin-of-the-run"
SOMEBODY = "somebody"
FIXTURE_ROLE = "fixture"
V2, V3 = "/api/2.0/mlflow/", "/api/3.0/mlflow/"


def create_users(admin: Admin, worlds: dict[str, dict], users: list[User]) -> None:
    for user in users:
        if user.is_admin or user.is_anonymous:
            continue
        admin.call("POST", V2 + "users/create", {"username": user.name, "password": matrix.PASSWORD})
        role = create_role(admin, "role of " + user.name)
        for grant in user.grants:
            add_permission(admin, role, grant.type, grant.pattern(worlds), grant.level)
        admin.call("POST", V3 + "roles/assign", {"username": user.name, "role_id": role})


def create_role(admin: Admin, name: str) -> int:
    body = {"workspace": "default", "name": name}
    return admin.call("POST", V3 + "roles/create", body)["role"]["id"]


def add_permission(admin: Admin, role: int, resource_type: str, pattern: str, level: str) -> int:
    body = {"role_id": role, "resource_type": resource_type, "resource_pattern": pattern, "permission": level}
    return admin.call("POST", V3 + "roles/permissions/add", body)["role_permission"]["id"]


def renew_somebody(admin: Admin, worlds: dict[str, dict]) -> dict[str, int]:
    """(Re-)make the user and the role that account requests are about; returns the role's ids."""
    admin.try_call("DELETE", V2 + "users/delete", {"username": SOMEBODY})
    admin.call("POST", V2 + "users/create", {"username": SOMEBODY, "password": matrix.PASSWORD})
    roles = admin.call("GET", V3 + "roles/list?workspace=default")["roles"]
    for role in roles:
        if role["name"] == FIXTURE_ROLE:
            admin.call("DELETE", V3 + "roles/delete", {"role_id": role["id"]})
    role = create_role(admin, FIXTURE_ROLE)
    permission = add_permission(admin, role, "experiment", worlds["a"]["exp"], "READ")
    return {"role": role, "role_permission": permission}
