//! What requests were allowed to do, kept until it is known what came of it.
//!
//! An intent is stored before the request goes on to MLflow, and taken back in the transaction
//! that records what MLflow has answered. One that stays tells that the answer was lost: the
//! client had gone, Envoy ended, or no policy server was there to record it.

use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};

use super::error::{Result, StoreError};
use super::model::Millis;
use super::write::{WriteTx, fill_random, now};
use super::{Store, rows};
use crate::domain::{Incumbent, ResourceType};

/// Who is about to do something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    pub username: String,
    /// That came with the credential.
    pub groups: Vec<String>,
    pub workspace: String,
}

/// One change that MLflow is about to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Create { resource: ResourceType, name: String },
    Delete { resource: ResourceType, id: String },
    Rename { resource: ResourceType, from: String, to: String },
}

impl Step {
    pub fn resource(&self) -> ResourceType {
        match self {
            Self::Create { resource, .. }
            | Self::Delete { resource, .. }
            | Self::Rename { resource, .. } => *resource,
        }
    }

    /// What the object is called; of a creation, what it will be called.
    pub fn name(&self) -> &str {
        match self {
            Self::Create { name, .. } => name,
            Self::Delete { id, .. } => id,
            Self::Rename { from, .. } => from,
        }
    }

    const fn operation(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create",
            Self::Delete { .. } => "delete",
            Self::Rename { .. } => "rename",
        }
    }

    fn new_name(&self) -> &str {
        match self {
            Self::Rename { to, .. } => to,
            Self::Create { .. } | Self::Delete { .. } => "",
        }
    }
}

/// What had the name when the request was allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prior {
    Absent,
    Existing(Incumbent),
    /// It could not be looked up.
    Unknown,
}

/// A step of a request of which nothing was heard yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// Random, 32 hexadecimal digits; common to all steps of a request.
    pub id: String,
    pub number: i64,
    pub author: Author,
    pub step: Step,
    pub prior: Prior,
    pub created_at: Millis,
}

const COLUMNS: &str = "id, step, username, claimed, workspace, operation, resource_type, name, \
                       new_name, prior, prior_id, prior_born, created_at";
const COLUMN_COUNT: usize = 13;

impl Store {
    /// Notes what is about to be forwarded. No change of the policy, so no revision. The id of
    /// the steps together.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn put_intents(&self, author: &Author, steps: &[(Step, Prior)]) -> Result<String> {
        let mut random = [0; 16];
        fill_random(&mut random)?;
        let id = hex::encode(random);
        // One statement, so that all steps are there or none.
        let row = |row: usize| {
            let places: Vec<String> = (1..=COLUMN_COUNT)
                .map(|place| format!("${}", row * COLUMN_COUNT + place))
                .collect();
            format!("({})", places.join(", "))
        };
        let values: Vec<String> = (0..steps.len()).map(row).collect();
        let statement = format!("INSERT INTO intents ({COLUMNS}) VALUES {}", values.join(", "));
        let claimed = serde_json::Value::from(author.groups.clone()).to_string();
        let created_at = now();
        let mut query = sqlx::query(AssertSqlSafe(statement));
        for ((step, prior), number) in steps.iter().zip(0_i64..) {
            let (word, incumbent) = match prior {
                Prior::Absent => ("absent", None),
                Prior::Existing(incumbent) => ("existing", Some(incumbent)),
                Prior::Unknown => ("unknown", None),
            };
            query = query
                .bind(id.clone())
                .bind(number)
                .bind(author.username.clone())
                .bind(claimed.clone())
                .bind(author.workspace.clone())
                .bind(step.operation())
                .bind(step.resource().as_str())
                .bind(step.name().to_owned())
                .bind(step.new_name().to_owned())
                .bind(word)
                .bind(incumbent.map(|incumbent| incumbent.id.clone()))
                .bind(incumbent.and_then(|incumbent| incumbent.born))
                .bind(created_at);
        }
        query.execute(self.pool()).await?;
        Ok(id)
    }

    /// The steps under an id; none when they are settled.
    ///
    /// # Errors
    /// `Unavailable`, or `Unreadable`.
    pub async fn intents(&self, id: &str) -> Result<Vec<Intent>> {
        let statement = format!("SELECT {COLUMNS} FROM intents WHERE id = $1 ORDER BY step");
        let query = sqlx::query(AssertSqlSafe(statement)).bind(id);
        query.fetch_all(self.pool()).await?.iter().map(intent).collect()
    }

    /// Intents from before a time, oldest first, after the one given.
    ///
    /// # Errors
    /// `Unavailable`, or `Unreadable`.
    pub async fn intents_before(
        &self,
        before: Millis,
        after: Option<&Intent>,
        limit: u32,
    ) -> Result<Vec<Intent>> {
        let statement = format!(
            "SELECT {COLUMNS} FROM intents WHERE created_at < $1 AND (created_at > $2 \
             OR (created_at = $2 AND (id > $3 OR (id = $3 AND step > $4)))) \
             ORDER BY created_at, id, step LIMIT $5"
        );
        sqlx::query(AssertSqlSafe(statement))
            .bind(before)
            .bind(after.map_or(Millis::MIN, |last| last.created_at))
            .bind(after.map_or("", |last| last.id.as_str()))
            .bind(after.map_or(-1, |last| last.number))
            .bind(i64::from(limit))
            .fetch_all(self.pool())
            .await?
            .iter()
            .map(intent)
            .collect()
    }

    /// Deletions and renamings that would free the name, of which nothing was heard yet.
    ///
    /// # Errors
    /// `Unavailable`, or `Unreadable`.
    pub async fn removals_of(
        &self,
        resource: ResourceType,
        workspace: &str,
        name: &str,
    ) -> Result<Vec<Intent>> {
        let statement = format!("SELECT {COLUMNS} FROM intents WHERE {REMOVALS}");
        sqlx::query(AssertSqlSafe(statement))
            .bind(resource.as_str())
            .bind(workspace)
            .bind(name)
            .fetch_all(self.pool())
            .await?
            .iter()
            .map(intent)
            .collect()
    }

    /// Forgets a step after which nothing is left to do.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn forget_intent(&self, intent: &Intent) -> Result<()> {
        sqlx::query("DELETE FROM intents WHERE id = $1 AND step = $2")
            .bind(intent.id.as_str())
            .bind(intent.number)
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// Forgets all steps of a request.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn forget_intents(&self, id: &str) -> Result<()> {
        sqlx::query("DELETE FROM intents WHERE id = $1").bind(id).execute(self.pool()).await?;
        Ok(())
    }
}

const REMOVALS: &str = "resource_type = $1 AND workspace = $2 AND name = $3 \
                        AND operation IN ('delete', 'rename')";

impl WriteTx<'_> {
    /// Takes all steps of a request back; those that were still there.
    pub(super) async fn take_intents(&mut self, id: &str) -> Result<Vec<Intent>> {
        let statement = format!("DELETE FROM intents WHERE id = $1 RETURNING {COLUMNS}");
        let query = sqlx::query(AssertSqlSafe(statement)).bind(id);
        query.fetch_all(self.connection()).await?.iter().map(intent).collect()
    }

    /// Takes one step back; whether it was still there.
    pub(super) async fn take_intent(&mut self, intent: &Intent) -> Result<bool> {
        let taken = sqlx::query("DELETE FROM intents WHERE id = $1 AND step = $2")
            .bind(intent.id.as_str())
            .bind(intent.number)
            .execute(self.connection())
            .await?;
        Ok(taken.rows_affected() > 0)
    }

    /// Takes back what would have freed the name: it is free, or taken anew.
    pub(super) async fn take_removals_of(
        &mut self,
        resource: ResourceType,
        workspace: &str,
        name: &str,
    ) -> Result<u64> {
        let taken = sqlx::query(AssertSqlSafe(format!("DELETE FROM intents WHERE {REMOVALS}")))
            .bind(resource.as_str())
            .bind(workspace)
            .bind(name)
            .execute(self.connection())
            .await?;
        Ok(taken.rows_affected())
    }

    /// Other creations under the same name that are still open, with who announced them.
    pub(super) async fn rivals_of(&mut self, created: &Intent) -> Result<Vec<Intent>> {
        let statement = format!(
            "SELECT {COLUMNS} FROM intents WHERE resource_type = $1 AND workspace = $2 \
             AND name = $3 AND operation = 'create' AND id <> $4"
        );
        sqlx::query(AssertSqlSafe(statement))
            .bind(created.step.resource().as_str())
            .bind(created.author.workspace.as_str())
            .bind(created.step.name())
            .bind(created.id.as_str())
            .fetch_all(self.connection())
            .await?
            .iter()
            .map(intent)
            .collect()
    }

    /// Of several creations under one name one has succeeded. The others must not be taken for
    /// the creators later, when the object has no owner any more.
    pub(super) async fn forget_rivals_of(&mut self, created: &Intent) -> Result<()> {
        for rival in self.rivals_of(created).await? {
            self.take_intent(&rival).await?;
        }
        Ok(())
    }
}

fn intent(row: &AnyRow) -> Result<Intent> {
    let unreadable = |why: String| StoreError::unreadable("intent", why);
    let resource = rows::word(row.try_get(6)?)?;
    let (name, new_name): (String, String) = (row.try_get(7)?, row.try_get(8)?);
    let step = match row.try_get(5)? {
        "create" => Step::Create { resource, name },
        "delete" => Step::Delete { resource, id: name },
        "rename" => Step::Rename { resource, from: name, to: new_name },
        other => return Err(unreadable(format!("operation {other:?}"))),
    };
    let prior = match (row.try_get(9)?, row.try_get::<Option<String>, _>(10)?) {
        ("absent", _) => Prior::Absent,
        ("existing", Some(id)) => Prior::Existing(Incumbent { id, born: row.try_get(11)? }),
        ("unknown", _) => Prior::Unknown,
        (other, _) => return Err(unreadable(format!("prior {other:?}"))),
    };
    let claimed: &str = row.try_get(3)?;
    let groups = serde_json::from_str(claimed).map_err(|why| unreadable(why.to_string()))?;
    Ok(Intent {
        id: row.try_get(0)?,
        number: row.try_get(1)?,
        author: Author { username: row.try_get(2)?, groups, workspace: row.try_get(4)? },
        step,
        prior,
        created_at: row.try_get(12)?,
    })
}
