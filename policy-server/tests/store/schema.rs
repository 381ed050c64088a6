//! A store of another version.

use mlgate_policy_server::store::{Store, StoreError};

use crate::on_both_stores;
use crate::support::Database;

on_both_stores! {
async fn a_store_that_a_newer_version_has_written_is_not_opened(database: &Database) {
    database.open().await;
    let raw = database.raw().await;
    sqlx::query(
        "INSERT INTO _sqlx_migrations \
         (version, description, installed_on, success, checksum, execution_time) \
         SELECT 9999, 'from the future', installed_on, success, checksum, 0 \
         FROM _sqlx_migrations WHERE version = 1",
    )
    .execute(&raw)
    .await
    .unwrap();
    let Err(error) = Store::connect(&database.url).await else { panic!("it was opened") };
    assert!(matches!(error, StoreError::TooNew { version: 9999 }), "{error}");
    assert!(error.to_string().contains("a newer one"), "{error}");
}
}
