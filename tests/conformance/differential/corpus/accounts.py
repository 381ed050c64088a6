"""Users, roles and permissions: answered by the gate itself, so its status is the answer."""

from .case import Case, Corpus


def cases() -> list[Case]:
    c = Corpus("user-admin", "workspace")
    v2, v3 = "/2.0/mlflow/users/", "/3.0/mlflow/users/"
    password = {"password": "a-long-enough-password"}
    c.post(v2 + "create", {"username": "new-$unique"} | password, restore=True)
    c.post(v2 + "create-ui", raw=b"username=x&password=y", headers={"Content-Type": "application/x-www-form-urlencoded"}, only="api", expect=400)
    c.get(v2 + "current")
    c.get(v2 + "get", {"username": "somebody"})
    c.get(v2 + "list")
    c.patch(v2 + "update-admin", {"username": "somebody", "is_admin": False})
    c.patch(v2 + "update-password", {"username": "somebody"} | password, restore=True)
    c.get(v2 + "get", {"username": "$user"}, label="own")
    wrong = {"username": "$user", "current_password": "not-my-password"} | password
    c.patch(v2 + "update-password", wrong, label="own, wrong current one", expect=400)
    c.delete(v2 + "delete", {"username": "somebody"}, restore=True)
    c.get("/signup")
    c.get(v3 + "current/permissions")
    c.get(v3 + "roles/list", {"username": "somebody"})
    c.get(v3 + "roles/list", {"username": "$user"}, label="own")
    c.get(v3 + "permissions/list", {"username": "somebody"})
    c.get(v3 + "permissions/list", {"username": "$user"}, label="own")
    target = {"resource_type": "experiment", "resource_id": "$exp"}
    tiers = ("workspace", "experiment")
    c.get(v3 + "permissions/get", {"username": "somebody"} | target, tiers=tiers)
    c.post(v3 + "permissions/grant", {"username": "somebody", "permission": "READ"} | target, tiers=tiers, restore=True)
    c.post(v3 + "permissions/grant", {"username": "somebody", "permission": "READ", "resource_type": "experiment", "resource_id": "*"}, tiers=tiers, restore=True, label="every experiment")
    c.post(v3 + "permissions/revoke", {"username": "somebody", "resource_type": "experiment", "resource_id": "$b_exp"}, tiers=tiers, restore=True, expect=404)
    c.family = "role-admin"
    roles = "/3.0/mlflow/roles/"
    role = {"role_id": "$role"}
    c.post(roles + "create", {"workspace": "default", "name": "new-$unique"}, restore=True)
    c.get(roles + "get", role)
    c.get(roles + "list")
    c.get(roles + "list", {"workspace": "default"}, label="of a workspace")
    c.patch(roles + "update", role | {"description": "d"})
    c.post(roles + "permissions/add", role | {"resource_type": "experiment", "resource_pattern": "$b_exp", "permission": "READ"}, restore=True)
    c.get(roles + "permissions/list", role)
    c.patch(roles + "permissions/update", {"role_permission_id": "$role_permission", "permission": "READ"})
    c.delete(roles + "permissions/remove", {"role_permission_id": "$role_permission"}, restore=True)
    c.post(roles + "assign", role | {"username": "somebody"}, restore=True)
    c.delete(roles + "unassign", role | {"username": "somebody"}, restore=True, expect=404)
    c.get(roles + "users/list", role)
    c.delete(roles + "delete", role, restore=True)
    return c.cases
