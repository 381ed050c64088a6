"""The users of the run and what is granted to them.

For each resource type that is granted by id there is a user per level on the object of world A and
on `*`; for each that is granted on `*` only, a user per level on top of READ and of MANAGE on the
parent. Every user has one role of their own with exactly the listed permissions.
"""

from dataclasses import dataclass

LEVELS = ("READ", "USE", "EDIT", "MANAGE", "DENY")
ALL = "*"
PASSWORD = "a-password-for-the-run"

# Resource types with grants by id → the id in a world.
BY_ID = {
    "experiment": "exp",
    "registered_model": "rm",
    "prompt": "prompt",
    "scorer": "scorer_key",
    "gateway_secret": "secret",
    "gateway_endpoint": "endpoint",
    "gateway_model_definition": "definition",
    "mcp_server": "mcp",
}
# Resource types with grants on `*` only → the type that they fall back to.
PARENT = {
    "run": "experiment",
    "trace": "experiment",
    "assessment": "experiment",
    "logged_model": "experiment",
    "review_queue": "experiment",
    "registered_model_version": "registered_model",
    "prompt_version": "prompt",
    "scorer_version": "scorer",
    "mcp_server_version": "mcp_server",
}


@dataclass(frozen=True)
class Grant:
    type: str
    # `*`, or the world whose object is meant.
    on: str
    level: str

    def __str__(self) -> str:
        return f"{self.type}/{self.on}={self.level}"

    def pattern(self, worlds: dict[str, dict[str, str]]) -> str:
        return ALL if self.on == ALL else worlds[self.on][BY_ID[self.type]]


@dataclass(frozen=True)
class User:
    name: str
    grants: tuple[Grant, ...] = ()
    is_admin: bool = False
    # Sends no credential.
    is_anonymous: bool = False

    def describe(self) -> str:
        if self.is_anonymous:
            return "anonymous"
        if self.is_admin:
            return "admin"
        return ", ".join(map(str, self.grants)) or "no grant"


def user(*grants: Grant) -> User:
    text = "+".join(map(str, grants)) or "nobody"
    for old, new in (("/", "."), ("*", "all"), ("=", ".")):
        text = text.replace(old, new)
    return User(text.lower(), grants)


def needs_experiment(tier: str) -> tuple[Grant, ...]:
    """Scorer routes check the scorer alone, but their lists need the experiment too."""
    return (Grant("experiment", "a", "READ"),) if tier == "scorer" else ()


def by_id(tier: str) -> list[User]:
    base = needs_experiment(tier)
    users = [user(*base, Grant(tier, "a", level)) for level in LEVELS]
    users += [user(*base, Grant(tier, ALL, level)) for level in ("READ", "MANAGE", "DENY")]
    users.append(user(*base, Grant(tier, ALL, "DENY"), Grant(tier, "a", "MANAGE")))
    users.append(user(*base, Grant(tier, "a", "DENY"), Grant(tier, ALL, "MANAGE")))
    return users


def on_top(tier: str) -> list[User]:
    parent = PARENT[tier]
    base = needs_experiment(parent)
    users = [
        user(*base, Grant(parent, "a", below), Grant(tier, ALL, level))
        for below in ("READ", "MANAGE")
        for level in LEVELS
    ]
    users.append(user(*base, Grant(tier, ALL, "MANAGE")))
    users.append(user(*base, Grant(parent, "a", "DENY"), Grant(tier, ALL, "MANAGE")))
    return users


NOBODY = user()
ADMIN = User("admin", is_admin=True)
ANONYMOUS = User("anonymous", is_anonymous=True)
ASSIGNED = User("assigned", (Grant("experiment", "a", "EDIT"),))
WORKSPACE = [
    user(Grant("workspace", ALL, "USE")),
    user(Grant("workspace", ALL, "MANAGE")),
    user(Grant("workspace", ALL, "MANAGE"), Grant("experiment", ALL, "DENY")),
]
ASSIGNED_DENIED = User(
    "assigned-denied", (Grant("experiment", "a", "READ"), Grant("review_queue", ALL, "DENY"))
)
# Change the experiment, but not with what they are denied.
WITHOUT_SCORERS = [
    user(Grant("experiment", "a", "EDIT"), Grant("scorer", "a", "DENY")),
    user(Grant("experiment", "a", "EDIT"), Grant("scorer_version", ALL, "DENY")),
]
# Made the queue `authored`, as far as MLflow knows.
AUTHOR = User("author", (Grant("experiment", "a", "EDIT"),))
OWNER = User("owner-of-a", tuple(Grant(tier, "a", "MANAGE") for tier in BY_ID))
# Manages world A and is denied world B: whoever shows them something of B has made a mistake.
BOTH_SIDES = User(
    "manages-a-denied-b",
    OWNER.grants + tuple(Grant(tier, "b", "DENY") for tier in BY_ID),
)
EXPERIMENT = [user(Grant("experiment", "a", level)) for level in ("READ", "EDIT", "MANAGE")]


def for_tiers(tiers: tuple[str, ...]) -> list[User]:
    users = [ANONYMOUS, NOBODY, ADMIN, *EXPERIMENT, WORKSPACE[1], OWNER]
    for tier in tiers:
        if tier in BY_ID:
            users += by_id(tier)
        elif tier == "workspace":
            users += WORKSPACE
        else:
            users += on_top(tier)
        if tier == "review_queue":
            users += [ASSIGNED, ASSIGNED_DENIED, AUTHOR]
        if tier == "scorer":
            users += WITHOUT_SCORERS
    return unique(users)


def few_for_tiers(tiers: tuple[str, ...]) -> list[User]:
    """For a `default_permission` that is not NO_PERMISSIONS: what it changes is where no row is."""
    users = [ANONYMOUS, NOBODY, BOTH_SIDES]
    for tier in tiers:
        if tier in BY_ID:
            base = needs_experiment(tier)
            users += [user(*base, Grant(tier, "a", "DENY")), user(*base, Grant(tier, "a", "READ"))]
        elif tier in PARENT:
            parent = PARENT[tier]
            users += [
                user(*needs_experiment(parent), Grant(parent, "a", "READ"), Grant(tier, ALL, "DENY")),
                user(*needs_experiment(parent), Grant(parent, "a", "READ"), Grant(tier, ALL, "READ")),
            ]
    return unique(users)


def unique(users: list[User]) -> list[User]:
    return list({user.name: user for user in users}.values())
