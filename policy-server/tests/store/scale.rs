//! Reading a principal does not become slower with the number of others.

use std::time::{Duration, Instant};

use crate::on_both_stores;
use crate::support::Database;

const USERS: i64 = 10_000;
const GRANTS_EACH: i64 = 10;

/// 10,000 users with ten grants each, written past the store for speed.
async fn fill(database: &Database) {
    let raw = database.raw().await;
    let numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1)";
    let mut transaction = raw.begin().await.unwrap();
    for statement in [
        format!(
            "{numbers} INSERT INTO users (id, username, created_at, updated_at) \
             SELECT i, 'user' || CAST(i AS TEXT), 0, 0 FROM n"
        ),
        format!(
            "{numbers} INSERT INTO roles (id, name, workspace, user_id) \
             SELECT i, '__user_' || CAST(i AS TEXT) || '__', 'default', i FROM n"
        ),
        format!(
            "{numbers} INSERT INTO user_role_assignments (user_id, role_id) SELECT i, i FROM n"
        ),
        format!(
            "{numbers}, m(j) AS (SELECT i FROM n WHERE i <= {GRANTS_EACH}) \
             INSERT INTO role_permissions \
             (role_id, resource_type, resource_pattern, pattern_kind, permission) \
             SELECT i, 'experiment', CAST(i * {GRANTS_EACH} + j AS TEXT), 'exact', 'EDIT' \
             FROM n CROSS JOIN m"
        ),
    ] {
        sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(USERS)
            .execute(&mut *transaction)
            .await
            .unwrap();
    }
    transaction.commit().await.unwrap();
    if database.url.starts_with("postgres") {
        sqlx::query("ANALYZE").execute(&raw).await.unwrap();
    }
    raw.close().await;
}

on_both_stores! {
async fn a_principal_among_ten_thousand_is_read_by_index(database: &Database) {
    let store = database.open().await;
    fill(database).await;
    let groups = ["a".to_owned(), "b".to_owned(), "c".to_owned()];
    let mut times = Vec::new();
    for round in 0..300 {
        let user = format!("user{}", 1 + (round * 7919) % USERS);
        let started = Instant::now();
        let principal = store.principal(&user, &groups).await.unwrap();
        times.push(started.elapsed());
        assert_eq!(principal.grants.len(), GRANTS_EACH as usize, "{user}");
    }
    times.sort_unstable();
    eprintln!("median {:?}, p99 {:?}", times[150], times[297]);
    // A scan of 100,000 grants takes tens of milliseconds, an index lookup well below one.
    assert!(times[150] < Duration::from_millis(5), "median {:?}", times[150]);
}
}
