//! What becomes of the database of mlflow-oidc-auth. Its tables are those that its own migrations
//! make.

use mlgate_policy_server::domain::Level;
use mlgate_policy_server::import::{self, ImportError, Source};
use mlgate_policy_server::store::{DatabaseUrl, Store};

use crate::on_both_stores;
use crate::source::{apply, run, steps};
use crate::support::Database;

const CURRENT: &str = include_str!("mlflow-oidc-auth-11.0.2.sql");
const EARLY: &str = include_str!("mlflow-oidc-auth-service-accounts.sql");

async fn make(database: &Database, schema: &str, rows: &[&str]) {
    let lines: Vec<&str> = schema.lines().filter(|line| !line.starts_with("--")).collect();
    let schema = lines.join("\n");
    let statements: Vec<&str> =
        schema.split(';').map(str::trim).filter(|statement| !statement.is_empty()).collect();
    run(database, &statements).await;
    run(database, rows).await;
}

async fn read_with(
    database: &Database,
    tracking: Option<&Database>,
    floor: Level,
) -> Result<Source, ImportError> {
    let url = |database: &Database| DatabaseUrl::parse("from", &database.url).unwrap();
    import::oidc_auth::read(&url(database), tracking.map(url).as_ref(), floor).await
}

async fn read(database: &Database) -> Source {
    read_with(database, None, Level::NoPermissions).await.unwrap()
}

fn grants(source: &Source) -> Vec<String> {
    let own = source.grants.iter().map(|((user, workspace, resource, pattern), level)| {
        format!("{user} {workspace} {resource} {pattern} {level}")
    });
    let groups = source.roles.iter().flat_map(|((workspace, role), held)| {
        held.permissions.iter().map(move |((resource, pattern), level)| {
            format!("{role} {workspace} {resource} {pattern} {level}")
        })
    });
    own.chain(groups).collect()
}

fn noted(source: &Source) -> Vec<&str> {
    source.notes.iter().map(|note| note.what.as_str()).collect()
}

const PEOPLE: &[&str] = &[
    "INSERT INTO users (id, username, display_name, is_admin, is_service_account, active, \
     managed_by) VALUES \
     (1, 'ana@example.com', 'Ana', FALSE, FALSE, TRUE, 'manual'), \
     (2, 'gone@example.com', 'Gone', FALSE, FALSE, FALSE, 'manual'), \
     (3, 'root@example.com', 'Root', TRUE, FALSE, TRUE, 'manual'), \
     (4, 'boss@example.com', 'Boss', TRUE, FALSE, TRUE, 'oidc:entra'), \
     (5, 'nightly', 'CI', FALSE, TRUE, TRUE, 'manual')",
    "INSERT INTO groups (id, group_name) VALUES (1, 'science'), (2, 'idle')",
    "INSERT INTO user_groups (id, user_id, group_id, managed_by) VALUES \
     (1, 1, 1, 'manual'), (2, 4, 1, 'oidc:entra')",
];

on_both_stores! {
async fn people_groups_and_grants_come_over_once(database: &Database) {
    make(database, CURRENT, PEOPLE).await;
    run(database, &[
        "INSERT INTO experiment_permissions VALUES (1, '12', 1, 'EDIT'), \
         (2, '13', 1, 'NO_PERMISSIONS'), (3, '14', 5, 'MANAGE')",
        "INSERT INTO experiment_group_permissions VALUES (1, '12', 1, 'READ'), (2, '15', 1, 'USE')",
        "INSERT INTO registered_model_permissions (id, name, user_id, permission, workspace) \
         VALUES (1, 'm*', 1, 'EDIT', NULL), (2, 'n', 1, 'NO_PERMISSIONS', 'default'), \
         (3, 'lost', 1, 'READ', '::unresolved')",
        "INSERT INTO scorer_permissions (id, experiment_id, scorer_name, user_id, permission) \
         VALUES (1, '12', 'a/b', 1, 'READ')",
        "INSERT INTO mcp_server_group_permissions (id, name, group_id, permission, workspace) \
         VALUES (1, 'tools', 1, 'USE', 'default')",
        "INSERT INTO user_tokens (id, user_id, name, token_hash, created_at, expires_at) \
         VALUES (1, 1, 't', 'x', '2026-01-01 00:00:00', '2027-01-01 00:00:00')",
    ]).await;
    let target = Database::sqlite();
    let store: Store = target.open().await;
    let source = read(database).await;
    assert_eq!(noted(&source), [
        "user boss@example.com",
        "1 memberships in groups",
        "READ of user ana@example.com on registered_model lost",
        "1 rows of user_tokens",
        "1 permissions on registered models",
    ]);
    let plan = import::plan(&store, source, None).await.unwrap();
    assert_eq!(steps(&plan), [
        "create user ana@example.com, without a password",
        "create user boss@example.com, without a password",
        "create user gone@example.com, without a password",
        "disable user gone@example.com",
        "create service account nightly",
        "create administrator root@example.com, without a password",
        "create role mlflow-oidc-auth: science in default",
        "let role mlflow-oidc-auth: science in default have READ on experiment 12",
        "let role mlflow-oidc-auth: science in default have USE on experiment 15",
        "let role mlflow-oidc-auth: science in default have USE on mcp_server tools",
        "give role mlflow-oidc-auth: science in default to group science",
        "add ana@example.com to group science",
        "grant ana@example.com EDIT on experiment 12 in default",
        "grant ana@example.com DENY on experiment 13 in default",
        "grant ana@example.com EDIT on registered_model m* in default",
        "grant ana@example.com DENY on registered_model n in default",
        "grant ana@example.com DENY on prompt n in default",
        "grant ana@example.com READ on scorer 12/a%2Fb in default",
        "grant nightly MANAGE on experiment 14 in default",
    ]);
    apply(&store, plan).await;
    assert!(store.user("gone@example.com").await.unwrap().unwrap().disabled);
    assert!(store.user("nightly").await.unwrap().unwrap().service_account);
    let ana = store.principal("ana@example.com", &[]).await.unwrap();
    assert_eq!(ana.grants.len(), 9, "her own, and her group's");

    let again = import::plan(&store, read(database).await, None).await.unwrap();
    assert!(again.steps.is_empty(), "{:?}", steps(&again));
    assert_eq!(again.present, 18, "all of it, but for the step that disabled");
}
}

on_both_stores! {
async fn what_is_hidden_there_is_not_opened_here(database: &Database) {
    make(database, CURRENT, PEOPLE).await;
    run(database, &[
        // Her own READ hides her group's EDIT; for 21, she has nothing of her own.
        "INSERT INTO experiment_permissions VALUES (1, '20', 1, 'READ')",
        "INSERT INTO experiment_group_permissions VALUES (1, '20', 1, 'EDIT'), (2, '21', 1, 'EDIT')",
        // The first of two regular expressions decides; a third is beside them.
        "INSERT INTO registered_model_regex_permissions \
         (id, regex, priority, user_id, permission, prompt) VALUES \
         (1, '^fraud-.*$', 1, 1, 'READ', FALSE), (2, 'fraud', 2, 1, 'MANAGE', FALSE), \
         (3, '^churn-.*$', 2, 1, 'EDIT', FALSE), (4, '^p-.*$', 2, 1, 'EDIT', TRUE)",
        // A refusal that no glob can say hides what comes after it.
        "INSERT INTO registered_model_group_regex_permissions \
         (id, regex, priority, group_id, permission, prompt) VALUES \
         (1, '^(secret|private)-.*$', 1, 1, 'NO_PERMISSIONS', FALSE), \
         (2, '^team-.*$', 2, 1, 'EDIT', FALSE)",
    ]).await;
    let source = read(database).await;
    assert_eq!(grants(&source), [
        "ana@example.com default experiment 20 READ",
        "ana@example.com default registered_model churn-* EDIT",
        "ana@example.com default registered_model fraud-* READ",
        "ana@example.com default prompt p-* EDIT",
        "mlflow-oidc-auth: science default experiment 21 EDIT",
    ]);
    let why = |what: &str| {
        let note = source.notes.iter().find(|note| note.what == what);
        note.unwrap_or_else(|| panic!("{what}: {:?}", source.notes)).why.clone()
    };
    assert_eq!(
        why("EDIT of group science on experiment 20"),
        "READ of user ana@example.com on experiment 20 comes first there; here the higher one \
         would count"
    );
    for left_out in [
        "MANAGE of user ana@example.com on registered_model those that \"fraud\" matches",
        "EDIT of group science on registered_model those that \"^team-.*$\" matches",
    ] {
        assert!(why(left_out).contains("comes first there"), "{left_out}");
    }
    let refusal =
        "NO_PERMISSIONS of group science on registered_model those that \"^(secret|private)-.*$\" \
         matches";
    assert!(why(refusal).contains("no glob"), "{}", why(refusal));
}
}

on_both_stores! {
async fn a_default_that_would_raise_what_is_low_refuses_the_import(database: &Database) {
    make(database, CURRENT, PEOPLE).await;
    run(database, &["INSERT INTO experiment_permissions VALUES (1, '20', 1, 'READ')"]).await;
    let refused = read_with(database, None, Level::Edit).await.unwrap_err().to_string();
    assert!(refused.contains("READ of user ana@example.com on experiment 20"), "{refused}");
    assert!(refused.contains("default_permission EDIT"), "{refused}");
    assert!(read_with(database, None, Level::Read).await.is_ok());

    run(database, &[
        "INSERT INTO experiment_regex_permissions VALUES (1, '^secret', 1, 1, 'NO_PERMISSIONS', '*')",
    ]).await;
    let refused = read_with(database, None, Level::Read).await.unwrap_err().to_string();
    assert!(refused.contains("NO_PERMISSIONS"), "{refused}");
    assert!(read_with(database, None, Level::NoPermissions).await.is_ok());
}
}

on_both_stores! {
async fn the_tracking_database_tells_workspaces_prompts_and_ids(database: &Database) {
    make(database, CURRENT, PEOPLE).await;
    run(database, &[
        "INSERT INTO experiment_permissions VALUES (1, '30', 1, 'EDIT'), (2, '99', 1, 'EDIT')",
        "INSERT INTO registered_model_permissions (id, name, user_id, permission, workspace) \
         VALUES (1, 'q', 1, 'EDIT', 'team'), (2, 'old', 1, 'EDIT', NULL)",
        "INSERT INTO gateway_secret_permissions (id, secret_id, user_id, permission, workspace) \
         VALUES (1, 'openai', 1, 'USE', 'team'), (2, 'nothing', 1, 'USE', 'team')",
        "INSERT INTO registered_model_regex_permissions \
         (id, regex, priority, user_id, permission, prompt, workspace) VALUES \
         (1, '^a-.*$', 1, 1, 'READ', FALSE, '*'), (2, '^b-.*$', 1, 1, 'READ', FALSE, 'team')",
        "INSERT INTO workspace_permissions VALUES ('team', 1, 'MANAGE')",
    ]).await;
    let refused = read_with(database, None, Level::NoPermissions).await.unwrap_err();
    assert!(refused.to_string().starts_with("--tracking-uri"), "{refused}");

    let tracking = Database::sqlite();
    run(&tracking, &[
        "CREATE TABLE experiments (experiment_id INTEGER, name TEXT, workspace TEXT)",
        "INSERT INTO experiments VALUES (30, 'fraud', 'team')",
        "CREATE TABLE secrets (secret_id TEXT, secret_name TEXT, workspace TEXT)",
        "INSERT INTO secrets VALUES ('s-1', 'openai', 'team'), ('s-2', 'nothing', 'default')",
        "CREATE TABLE registered_model_tags (name TEXT, key TEXT, value TEXT, workspace TEXT)",
        "INSERT INTO registered_model_tags VALUES ('q', 'mlflow.prompt.is_prompt', 'true', 'team')",
    ]).await;
    let source = read_with(database, Some(&tracking), Level::NoPermissions).await.unwrap();
    assert_eq!(grants(&source), [
        "ana@example.com team experiment 30 EDIT",
        "ana@example.com team registered_model b-* READ",
        "ana@example.com team prompt q EDIT",
        "ana@example.com team gateway_secret s-1 USE",
    ]);
    let noted = noted(&source);
    for left_out in [
        "1 rows of workspace_permissions",
        "EDIT of user ana@example.com on experiment 99",
        "EDIT of user ana@example.com on registered_model old",
        "USE of user ana@example.com on gateway_secret nothing",
        "READ of user ana@example.com on registered_model those that \"^a-.*$\" matches",
    ] {
        assert!(noted.contains(&left_out), "{left_out}: {noted:?}");
    }
}
}

on_both_stores! {
async fn an_early_database_is_read_as_well(database: &Database) {
    make(database, EARLY, &[
        "INSERT INTO users VALUES (1, 'ana', 'Ana', 'scrypt:hash', FALSE, FALSE)",
        "INSERT INTO groups VALUES (1, 'science')",
        "INSERT INTO user_groups VALUES (1, 1, 1)",
        "INSERT INTO registered_model_group_permissions VALUES (1, 'm', 1, 'EDIT', NULL)",
    ]).await;
    let source = read(database).await;
    assert_eq!(grants(&source), ["mlflow-oidc-auth: science default registered_model m EDIT"]);
    assert!(source.users["ana"].password_hash.is_none(), "it is a token that may expire");
    assert!(source.groups["science"].members.is_empty(), "nobody says who keeps memberships");
    assert!(noted(&source).contains(&"the passwords of users"));
}
}

on_both_stores! {
async fn each_importer_refuses_the_others_database(database: &Database) {
    make(database, EARLY, &[]).await;
    let url = DatabaseUrl::parse("from", &database.url).unwrap();
    let refused = import::mlflow::read(&url, None).await.unwrap_err().to_string();
    assert!(refused.contains("mlgate import mlflow-oidc-auth"), "{refused}");

    let theirs = Database::sqlite();
    run(&theirs, crate::source::FIRST).await;
    let refused = read_with(&theirs, None, Level::NoPermissions).await.unwrap_err().to_string();
    assert!(refused.contains("mlflow-oidc-auth"), "{refused}");
}
}

on_both_stores! {
async fn a_permission_that_nobody_knows_stops_the_import(database: &Database) {
    make(database, CURRENT, PEOPLE).await;
    run(database, &["INSERT INTO experiment_permissions VALUES (1, '20', 1, 'MAYBE')"]).await;
    let refused = read_with(database, None, Level::NoPermissions).await.unwrap_err().to_string();
    assert!(refused.contains("row 1 of experiment_permissions"), "{refused}");
}
}
