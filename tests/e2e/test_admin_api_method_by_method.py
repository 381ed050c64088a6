"""Every public method of the installed `AuthServiceClient`, to MLflow's auth app and to the gate:
it succeeds, and each way in which it can fail has the same error code at both."""

import inspect
from types import SimpleNamespace

import pytest
from mlflow.exceptions import MlflowException
from mlflow.server.auth.client import AuthServiceClient
from support.client import acting_as
from support.reference import ADMIN, running_reference

PASSWORD = "first-password-1"
UNKNOWN = 999_999

METHODS = sorted(
    name
    for name, _ in inspect.getmembers(AuthServiceClient, inspect.isfunction)
    if not name.startswith("_")
)

EXISTS = "RESOURCE_ALREADY_EXISTS"
MISSING = "RESOURCE_DOES_NOT_EXIST"
INVALID = "INVALID_PARAMETER_VALUE"
BAD = "BAD_REQUEST"
DENIED = "PERMISSION_DENIED"

# By method: what it is called with to succeed, then the ways to fail: the error code, who calls
# (an admin, a user with one permission, or a stranger with none), and with what.
CASES = {
    "create_user": (
        lambda w: (w.new, PASSWORD),
        (EXISTS, "admin", lambda w: (w.user, PASSWORD)),
        (INVALID, "admin", lambda w: (w.new, "elevenchars")),
        (BAD, "admin", lambda w: ("", PASSWORD)),
        (BAD, "admin", lambda w: (w.new, "")),
        (DENIED, "user", lambda w: (w.new, PASSWORD)),
    ),
    "get_user": (
        lambda w: (w.user,),
        (MISSING, "admin", lambda w: (w.new,)),
        (DENIED, "user", lambda w: (w.other,)),
        (DENIED, "user", lambda w: (w.new,)),
    ),
    "update_user_password": (
        lambda w: (w.other, "second-password-1"),
        (MISSING, "admin", lambda w: (w.new, "second-password-1")),
        (INVALID, "admin", lambda w: (w.other, "elevenchars")),
        (INVALID, "user", lambda w: (w.user, "second-password-1")),
        (INVALID, "user", lambda w: (w.user, "second-password-1", "wrong-password-1")),
        (INVALID, "user", lambda w: (w.user, PASSWORD, PASSWORD)),
        (DENIED, "user", lambda w: (w.other, "second-password-1")),
    ),
    "update_user_admin": (
        lambda w: (w.other, True),
        (MISSING, "admin", lambda w: (w.new, True)),
        (DENIED, "user", lambda w: (w.user, True)),
    ),
    "delete_user": (
        lambda w: (w.other,),
        (MISSING, "admin", lambda w: (w.new,)),
        (BAD, "admin", lambda w: (w.admin,)),
        (DENIED, "user", lambda w: (w.other,)),
    ),
    "create_role": (
        lambda w: ("default", w.new, "of a test"),
        (EXISTS, "admin", lambda w: ("default", w.role_name)),
        (INVALID, "admin", lambda w: ("default", "__user_1__")),
        (INVALID, "admin", lambda w: ("default", "")),
        (DENIED, "user", lambda w: ("default", w.new)),
    ),
    "get_role": (
        lambda w: (w.role,),
        (MISSING, "admin", lambda w: (UNKNOWN,)),
        (DENIED, "stranger", lambda w: (w.role,)),
        (DENIED, "stranger", lambda w: (UNKNOWN,)),
    ),
    "list_roles": (
        lambda w: ("default",),
        (DENIED, "stranger", lambda w: ("default",)),
    ),
    "list_all_roles": (lambda w: (), (DENIED, "user", lambda w: ())),
    "update_role": (
        lambda w: (w.role, w.new, "another description"),
        (MISSING, "admin", lambda w: (UNKNOWN, w.new)),
        (EXISTS, "admin", lambda w: (w.role, w.other_role_name)),
        (INVALID, "admin", lambda w: (w.role, "__user_1__")),
        (DENIED, "user", lambda w: (w.role, w.new)),
    ),
    "delete_role": (
        lambda w: (w.role,),
        (MISSING, "admin", lambda w: (UNKNOWN,)),
        (DENIED, "user", lambda w: (w.role,)),
    ),
    "add_role_permission": (
        lambda w: (w.role, "experiment", "4711", "READ"),
        (MISSING, "admin", lambda w: (UNKNOWN, "experiment", "4711", "READ")),
        (EXISTS, "admin", lambda w: (w.role, "experiment", "12", "EDIT")),
        (INVALID, "admin", lambda w: (w.role, "galaxy", "4711", "READ")),
        (INVALID, "admin", lambda w: (w.role, "run", "4711", "READ")),
        (INVALID, "admin", lambda w: (w.role, "experiment", "4711", "WRITE")),
        (INVALID, "admin", lambda w: (w.role, "experiment", "4711", "NO_PERMISSIONS")),
        (INVALID, "admin", lambda w: (w.role, "workspace", "*", "READ")),
        (DENIED, "user", lambda w: (w.role, "experiment", "4711", "READ")),
    ),
    "remove_role_permission": (
        lambda w: (w.permission,),
        (MISSING, "admin", lambda w: (UNKNOWN,)),
        (DENIED, "user", lambda w: (w.permission,)),
    ),
    "list_role_permissions": (
        lambda w: (w.role,),
        (MISSING, "admin", lambda w: (UNKNOWN,)),
        (DENIED, "stranger", lambda w: (w.role,)),
    ),
    "update_role_permission": (
        lambda w: (w.permission, "DENY"),
        (MISSING, "admin", lambda w: (UNKNOWN, "READ")),
        (INVALID, "admin", lambda w: (w.permission, "WRITE")),
        (DENIED, "user", lambda w: (w.permission, "MANAGE")),
    ),
    "assign_role": (
        lambda w: (w.user, w.role),
        (MISSING, "admin", lambda w: (w.new, w.role)),
        (MISSING, "admin", lambda w: (w.user, UNKNOWN)),
        (EXISTS, "admin", lambda w: (w.other, w.role)),
        (DENIED, "user", lambda w: (w.user, w.role)),
    ),
    "unassign_role": (
        lambda w: (w.other, w.role),
        (MISSING, "admin", lambda w: (w.user, w.role)),
        (MISSING, "admin", lambda w: (w.new, w.role)),
        (MISSING, "admin", lambda w: (w.other, UNKNOWN)),
        (DENIED, "user", lambda w: (w.other, w.role)),
    ),
    "list_user_roles": (
        lambda w: (w.other,),
        (MISSING, "admin", lambda w: (w.new,)),
        (DENIED, "user", lambda w: (w.other,)),
    ),
    "list_role_users": (
        lambda w: (w.role,),
        (MISSING, "admin", lambda w: (UNKNOWN,)),
        (DENIED, "stranger", lambda w: (w.role,)),
    ),
    "grant_user_permission": (
        lambda w: (w.user, "experiment", "4711", "EDIT"),
        (EXISTS, "admin", lambda w: (w.user, "experiment", "12", "EDIT")),
        (MISSING, "admin", lambda w: (w.new, "experiment", "4711", "EDIT")),
        (INVALID, "admin", lambda w: (w.user, "workspace", "*", "USE")),
        (INVALID, "admin", lambda w: (w.user, "galaxy", "4711", "EDIT")),
        (INVALID, "admin", lambda w: (w.user, "experiment", "4711", "NO_PERMISSIONS")),
        (DENIED, "user", lambda w: (w.user, "experiment", "4711", "MANAGE")),
    ),
    "revoke_user_permission": (
        lambda w: (w.user, "experiment", "12"),
        (MISSING, "admin", lambda w: (w.user, "experiment", "4711")),
        (MISSING, "admin", lambda w: (w.new, "experiment", "12")),
        (INVALID, "admin", lambda w: (w.user, "galaxy", "12")),
        (DENIED, "user", lambda w: (w.user, "experiment", "12")),
    ),
    "get_user_permission": (
        lambda w: (w.user, "experiment", "12"),
        (MISSING, "admin", lambda w: (w.new, "experiment", "12")),
        (INVALID, "admin", lambda w: (w.user, "galaxy", "12")),
        (DENIED, "user", lambda w: (w.other, "experiment", "12")),
    ),
}


def test_every_public_method_of_the_installed_client_is_listed():
    assert METHODS == sorted(CASES)


@pytest.fixture(scope="module")
def servers(gate, tmp_path_factory):
    """MLflow's own auth app, whose word counts, and the gate."""
    with running_reference(tmp_path_factory.mktemp("reference")) as url:
        yield SimpleNamespace(url=url, admin=ADMIN), gate


PARTS = ("user", "other", "stranger", "new", "role", "other-role")


def world(server, name):
    """What the method is called on: users, one with a permission and one with a role, and roles."""
    new = {part: f"{name}-{part}" for part in PARTS}
    with acting_as(server, server.admin):
        admin = AuthServiceClient(server.url)
        admin.create_user(new["user"], PASSWORD)
        admin.create_user(new["other"], PASSWORD)
        admin.create_user(new["stranger"], PASSWORD)
        role = admin.create_role("default", new["role"]).id
        admin.create_role("default", new["other-role"])
        permission = admin.add_role_permission(role, "experiment", "12", "READ").id
        admin.assign_role(new["other"], role)
        admin.grant_user_permission(new["user"], "experiment", "12", "READ")
    return SimpleNamespace(
        admin=server.admin[0],
        user=new["user"],
        other=new["other"],
        stranger=new["stranger"],
        new=new["new"],
        role=role,
        role_name=new["role"],
        other_role_name=new["other-role"],
        permission=permission,
    )


def outcome(server, credential, method, arguments):
    """`None` for success, else the error's code."""
    with acting_as(server, credential):
        try:
            getattr(AuthServiceClient(server.url), method)(*arguments)
        except MlflowException as error:
            return error.error_code
    return None


@pytest.mark.parametrize("method", METHODS)
def test_it_succeeds_and_fails_as_documented(servers, method):
    succeeding, *failing = CASES[method]
    for server in servers:
        made = world(server, f"method-{method}")
        callers = {who: (getattr(made, who), PASSWORD) for who in ("user", "stranger")}
        callers["admin"] = server.admin
        for code, who, arguments in failing:
            found = outcome(server, callers[who], method, arguments(made))
            assert found == code, f"{server.url}: {who} calls with {arguments(made)}"
        assert outcome(server, server.admin, method, succeeding(made)) is None, server.url
