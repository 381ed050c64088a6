"""`AuthServiceClient`, every method of it, through the gate."""

import pytest
from mlflow.exceptions import MlflowException, RestException
from mlflow.server.auth.client import AuthServiceClient
from support.client import acting_as

PASSWORD = "first-password-1"


@pytest.fixture
def administration(gate, admin):
    with acting_as(gate, admin):
        yield AuthServiceClient(gate.url)


@pytest.fixture
def user(administration, unique):
    administration.create_user(unique, PASSWORD)
    return unique


@pytest.fixture
def role(administration, unique):
    return administration.create_role("default", unique, "for a test").id


def refused(code, message, action):
    with pytest.raises(RestException) as caught:
        action()
    assert caught.value.error_code == code, caught.value
    assert message in str(caught.value)


def denied(action):
    with pytest.raises(MlflowException, match="Permission denied") as caught:
        action()
    assert caught.value.get_http_status_code() == 403


def test_a_user_is_created_read_changed_and_deleted(gate, administration, unique):
    created = administration.create_user(unique, PASSWORD)
    assert (created.username, created.is_admin) == (unique, False)
    assert administration.get_user(unique).id == created.id
    refused(
        "RESOURCE_ALREADY_EXISTS",
        f"User (username={unique}) already exists.",
        lambda: administration.create_user(unique, PASSWORD),
    )
    administration.update_user_password(unique, "second-password-1")
    current = "/api/2.0/mlflow/users/current"
    assert gate.get(current, (unique, PASSWORD)).status_code == 401
    assert gate.get(current, (unique, "second-password-1")).status_code == 200
    administration.update_user_admin(unique, True)
    assert administration.get_user(unique).is_admin
    administration.delete_user(unique)
    assert gate.get(current, (unique, "second-password-1")).status_code == 401
    missing = f"User with username={unique} not found"
    refused("RESOURCE_DOES_NOT_EXIST", missing, lambda: administration.get_user(unique))
    refused("RESOURCE_DOES_NOT_EXIST", missing, lambda: administration.delete_user(unique))


def test_a_short_password_is_refused(administration, unique):
    refused(
        "INVALID_PARAMETER_VALUE",
        "Password must be at least 12 characters.",
        lambda: administration.create_user(unique, "elevenchars"),
    )


def test_a_user_changes_its_own_password_with_the_current_one(gate, user):
    with acting_as(gate, (user, PASSWORD)):
        own = AuthServiceClient(gate.url)
        refused(
            "INVALID_PARAMETER_VALUE",
            "Current password is required when changing your own password.",
            lambda: own.update_user_password(user, "second-password-1"),
        )
        refused(
            "INVALID_PARAMETER_VALUE",
            "Current password does not match.",
            lambda: own.update_user_password(user, "second-password-1", "wrong-password-1"),
        )
        own.update_user_password(user, "second-password-1", PASSWORD)
    current = "/api/2.0/mlflow/users/current"
    assert gate.get(current, (user, "second-password-1")).status_code == 200
    assert gate.get(current, (user, PASSWORD)).status_code == 401


def test_a_user_administers_nothing(gate, user, role, admin):
    with acting_as(gate, (user, PASSWORD)):
        own = AuthServiceClient(gate.url)
        assert own.get_user(user).username == user
        denied(lambda: own.get_user(admin[0]))
        denied(lambda: own.create_user("another", PASSWORD))
        denied(lambda: own.update_user_admin(user, True))
        denied(lambda: own.update_user_password(admin[0], PASSWORD))
        denied(lambda: own.delete_user(admin[0]))
        denied(lambda: own.create_role("default", "mine"))
        denied(lambda: own.get_role(role))
        denied(lambda: own.list_all_roles())
        denied(lambda: own.delete_role(role))
        denied(lambda: own.assign_role(user, role))
        denied(lambda: own.add_role_permission(role, "experiment", "*", "MANAGE"))
        denied(lambda: own.grant_user_permission(user, "experiment", "0", "MANAGE"))


def test_a_role_is_created_changed_and_deleted(administration, unique):
    role = administration.create_role("default", unique, "readers")
    assert (role.name, role.workspace, role.description) == (unique, "default", "readers")
    refused(
        "RESOURCE_ALREADY_EXISTS",
        f"Role (name={unique}, workspace=default) already exists.",
        lambda: administration.create_role("default", unique),
    )
    renamed = administration.update_role(role.id, name=f"{unique}-2", description="others")
    assert (renamed.name, renamed.description) == (f"{unique}-2", "others")
    assert role.id in [found.id for found in administration.list_roles("default")]
    assert role.id in [found.id for found in administration.list_all_roles()]
    administration.delete_role(role.id)
    refused(
        "RESOURCE_DOES_NOT_EXIST",
        f"Role with id={role.id} not found",
        lambda: administration.get_role(role.id),
    )


def test_a_roles_permissions_work_for_those_who_have_it(gate, administration, user, role, unique):
    experiment = gate.create_experiment(unique, gate.admin)
    get = f"/api/2.0/mlflow/experiments/get?experiment_id={experiment}"
    assert gate.get(get, (user, PASSWORD)).status_code == 403
    added = administration.add_role_permission(role, "experiment", experiment, "READ")
    assignment = administration.assign_role(user, role)
    assert (assignment.role_id, assignment.user_id) == (role, administration.get_user(user).id)
    assert gate.get(get, (user, PASSWORD)).status_code == 200
    assert [found.id for found in administration.list_role_users(role)] == [assignment.id]
    assert [found.id for found in administration.list_user_roles(user)] == [role]

    denial = administration.update_role_permission(added.id, "DENY")
    assert (denial.id, denial.permission) == (added.id, "DENY")
    assert gate.get(get, (user, PASSWORD)).status_code == 403
    assert [found.id for found in administration.list_role_permissions(role)] == [added.id]
    administration.update_role_permission(added.id, "READ")
    assert gate.get(get, (user, PASSWORD)).status_code == 200
    administration.unassign_role(user, role)
    assert gate.get(get, (user, PASSWORD)).status_code == 403
    administration.remove_role_permission(added.id)
    assert administration.list_role_permissions(role) == []


def test_a_users_own_permission_is_granted_asked_for_and_revoked(
    gate, administration, user, unique
):
    experiment = gate.create_experiment(unique, gate.admin)
    get = f"/api/2.0/mlflow/experiments/get?experiment_id={experiment}"
    administration.grant_user_permission(user, "experiment", experiment, "MANAGE")
    assert gate.get(get, (user, PASSWORD)).status_code == 200
    asked = administration.get_user_permission(user, "experiment", experiment)
    assert (asked.allowed, asked.permission) == (True, "MANAGE")
    refused(
        "RESOURCE_ALREADY_EXISTS",
        "already exists.",
        lambda: administration.grant_user_permission(user, "experiment", experiment, "READ"),
    )
    administration.create_user(f"{user}-2", PASSWORD)
    with acting_as(gate, (user, PASSWORD)):
        own = AuthServiceClient(gate.url)
        own.grant_user_permission(f"{user}-2", "experiment", experiment, "READ")
        assert gate.get(get, (f"{user}-2", PASSWORD)).status_code == 200
        own.revoke_user_permission(f"{user}-2", "experiment", experiment)
    assert gate.get(get, (f"{user}-2", PASSWORD)).status_code == 403
    administration.revoke_user_permission(user, "experiment", experiment)
    assert gate.get(get, (user, PASSWORD)).status_code == 403
    refused(
        "RESOURCE_DOES_NOT_EXIST",
        "not found.",
        lambda: administration.revoke_user_permission(user, "experiment", experiment),
    )


def test_what_can_not_be_granted_is_said(administration, user, role):
    refused(
        "INVALID_PARAMETER_VALUE",
        "This resource type supports only wildcard ('*') grants.",
        lambda: administration.add_role_permission(role, "run", "abc", "READ"),
    )
    refused(
        "INVALID_PARAMETER_VALUE",
        "Invalid permission 'NO_PERMISSIONS' for resource_type='experiment'.",
        lambda: administration.add_role_permission(role, "experiment", "7", "NO_PERMISSIONS"),
    )
    refused(
        "INVALID_PARAMETER_VALUE",
        "resource_type 'workspace' is not supported",
        lambda: administration.grant_user_permission(user, "workspace", "*", "USE"),
    )
