//! Reading the rows.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row as _};

use super::hiding::{Holder, Members, Place, Rank, Row};
use super::regex::{Shape, shape};
use super::tables::{HolderKind, Naming, OF_WORKSPACES, TABLES, Table, unknown};
use crate::domain::{DEFAULT_WORKSPACE, Level, Pattern, ResourceType};
use crate::import::mlflow::Tables;
use crate::import::{ImportError, Source, SourceUser};

/// In every workspace, of regular expressions.
const EVERY_WORKSPACE: &str = "*";

/// Of a row whose workspace the plugin did not find; it matches nothing there.
const UNRESOLVED: &str = "::unresolved";

/// Who keeps a row where no login or directory does.
const MANUAL: &str = "manual";

/// What the database holds.
pub(super) struct Read {
    pub(super) rows: Vec<Row>,
    /// Who is in which group, by whatever way.
    pub(super) members: Members,
    /// Memberships that an administrator keeps, and no login.
    pub(super) kept: BTreeMap<String, BTreeSet<String>>,
    /// Whether anything is in a workspace of its own.
    pub(super) workspaces: bool,
}

struct Reader<'a> {
    connection: &'a mut AnyConnection,
    tables: &'a Tables,
    users: HashMap<i64, String>,
    groups: HashMap<i64, String>,
}

/// Reads it all; users go to the source, together with notes.
pub(super) async fn everything(
    connection: &mut AnyConnection,
    tables: &Tables,
    source: &mut Source,
) -> Result<Read, ImportError> {
    let mut reader = Reader { connection, tables, users: HashMap::new(), groups: HashMap::new() };
    reader.users(source).await?;
    let (members, kept) = reader.groups(source).await?;
    let of_workspaces = reader.of_workspaces(source).await?;
    let workspaces = of_workspaces || reader.names_workspaces().await?;
    let mut rows = Vec::new();
    for table in TABLES.iter().filter(|table| tables.has(table.name)) {
        rows.extend(reader.grants(table, workspaces, source).await?);
    }
    for table in unknown(tables.names()) {
        source.note(format!("table {table}"), "is of a version that this importer does not know");
    }
    reader.left_behind(source).await?;
    Ok(Read { rows, members, kept, workspaces })
}

impl Reader<'_> {
    async fn fetch(&mut self, statement: String) -> Result<Vec<AnyRow>, ImportError> {
        Ok(sqlx::query(AssertSqlSafe(statement)).fetch_all(&mut *self.connection).await?)
    }

    /// The column, or what older versions mean without it.
    fn column<'c>(&self, table: &str, column: &'c str, otherwise: &'c str) -> &'c str {
        if self.tables.has_column(table, column) { column } else { otherwise }
    }

    async fn users(&mut self, source: &mut Source) -> Result<(), ImportError> {
        let statement = format!(
            "SELECT id, username, CAST(COALESCE(is_admin, {no}) AS INTEGER), \
             CAST(COALESCE({service}, {no}) AS INTEGER), CAST(COALESCE({active}, {yes}) AS INTEGER), \
             CAST({kept} AS TEXT) FROM users ORDER BY id",
            no = "FALSE",
            yes = "TRUE",
            service = self.column("users", "is_service_account", "FALSE"),
            active = self.column("users", "active", "TRUE"),
            kept = self.column("users", "managed_by", "'manual'"),
        );
        for row in self.fetch(statement).await? {
            let id: i64 = row.try_get(0)?;
            let Some(username) = text(&row, 1)?.filter(|name| !name.is_empty()) else {
                source.note(format!("user with id {id}"), "has no name");
                continue;
            };
            let was_admin = row.try_get::<i64, _>(2)? != 0;
            let kept = text(&row, 5)?.is_none_or(|kept| kept == MANUAL);
            // The identity provider's groups made them one, and may end it; here nothing would.
            if was_admin && !kept {
                source.note(
                    format!("user {username}"),
                    "is an administrator by the identity provider; admin_groups says so here",
                );
            }
            let user = SourceUser {
                is_admin: was_admin && kept,
                service_account: row.try_get::<i64, _>(3)? != 0,
                disabled: row.try_get::<i64, _>(4)? == 0,
                ..SourceUser::default()
            };
            source.users.insert(username.clone(), user);
            self.users.insert(id, username);
        }
        Ok(())
    }

    async fn groups(&mut self, source: &mut Source) -> Result<(Members, Members), ImportError> {
        let (mut members, mut kept) = (Members::new(), Members::new());
        if !self.tables.has("groups") {
            return Ok((members, kept));
        }
        for row in self.fetch("SELECT id, group_name FROM groups ORDER BY id".to_owned()).await? {
            self.groups.insert(row.try_get(0)?, text(&row, 1)?.unwrap_or_default());
        }
        // Without the column, nobody knows who keeps a membership.
        let keeper = self.column("user_groups", "managed_by", "''");
        let statement =
            format!("SELECT user_id, group_id, CAST({keeper} AS TEXT) FROM user_groups");
        let mut by_login = 0_usize;
        for row in self.fetch(statement).await? {
            let (user, group): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
            let (Some(user), Some(group)) = (self.users.get(&user), self.groups.get(&group)) else {
                source.note("a row of user_groups", "its user or group is missing");
                continue;
            };
            members.entry(group.clone()).or_default().insert(user.clone());
            match text(&row, 2)?.as_deref() {
                Some(MANUAL) => _ = kept.entry(group.clone()).or_default().insert(user.clone()),
                _ => by_login += 1,
            }
        }
        if by_login > 0 {
            source.note(
                format!("{by_login} memberships in groups"),
                "come with the identity provider's token, at each request",
            );
        }
        Ok((members, kept))
    }

    /// Whether there are any grants on workspaces; none is taken over.
    async fn of_workspaces(&mut self, source: &mut Source) -> Result<bool, ImportError> {
        let mut any = false;
        for table in OF_WORKSPACES.iter().filter(|table| self.tables.has(table)) {
            let count = self.count(table).await?;
            if count > 0 {
                any = true;
                source.note(
                    format!("{count} rows of {table}"),
                    "a permission on a workspace opens there what no other row is about; here, \
                     grant USE or MANAGE on the workspace, or a level on a type and *",
                );
            }
        }
        Ok(any)
    }

    async fn count(&mut self, table: &str) -> Result<i64, ImportError> {
        let statement = format!("SELECT COUNT(*) FROM {table}");
        Ok(sqlx::query_scalar(AssertSqlSafe(statement)).fetch_one(&mut *self.connection).await?)
    }

    async fn names_workspaces(&mut self) -> Result<bool, ImportError> {
        for table in TABLES.iter().filter(|table| self.tables.has_column(table.name, "workspace")) {
            let statement = format!(
                "SELECT COUNT(*) FROM {} WHERE workspace NOT IN \
                 ('{DEFAULT_WORKSPACE}', '{EVERY_WORKSPACE}', '{UNRESOLVED}')",
                table.name
            );
            let count: i64 = sqlx::query_scalar(AssertSqlSafe(statement))
                .fetch_one(&mut *self.connection)
                .await?;
            if count > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn grants(
        &mut self,
        table: &Table,
        workspaces: bool,
        source: &mut Source,
    ) -> Result<Vec<Row>, ImportError> {
        let (holder, holders) = match table.holder {
            HolderKind::User => ("user_id", &self.users),
            HolderKind::Group => ("group_id", &self.groups),
        };
        let holders = holders.clone();
        let (names, priority) = match table.naming {
            Naming::Key(columns) => (columns, "0"),
            Naming::Regex => ("regex, ''", "priority"),
        };
        let (first, second) = names.split_once(", ").unwrap_or((names, "''"));
        let workspace = self.column(table.name, "workspace", "NULL");
        let is_regex = table.naming == Naming::Regex;
        // On groups' rows of registered models, the plugin itself does not look at the flag.
        let prompt = match is_regex {
            true => self.column(table.name, "prompt", "FALSE"),
            false => "FALSE",
        };
        let statement = format!(
            "SELECT id, {holder}, CAST({first} AS TEXT), CAST({second} AS TEXT), permission, \
             CAST({workspace} AS TEXT), CAST({priority} AS BIGINT), \
             CAST(COALESCE({prompt}, FALSE) AS INTEGER) FROM {} ORDER BY id",
            table.name
        );
        let mut rows = Vec::new();
        for row in self.fetch(statement).await? {
            let (id, owner): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
            let Some(owner) = holders.get(&owner) else {
                source.note(format!("row {id} of {}", table.name), "its user or group is missing");
                continue;
            };
            let found = Found {
                id,
                owner,
                first: text(&row, 2)?.unwrap_or_default(),
                second: text(&row, 3)?.unwrap_or_default(),
                permission: text(&row, 4)?.unwrap_or_default(),
                workspace: text(&row, 5)?,
                priority: row.try_get(6)?,
                prompt: row.try_get::<i64, _>(7)? != 0,
            };
            match found.row(table, workspaces)? {
                Ok(row) => rows.push(row),
                Err(what) => source.note(what, "is in no workspace, and matches nothing there"),
            }
        }
        Ok(rows)
    }

    /// What is not policy, or cannot be taken over as it is.
    async fn left_behind(&mut self, source: &mut Source) -> Result<(), ImportError> {
        for (table, why) in [
            ("user_tokens", "tokens expire there and passwords do not here; `mlgate token create`"),
            ("scim_tokens", "there is no SCIM here; groups come with the token"),
            ("workspace_group_rules", "there are no rules for workspaces here"),
        ] {
            if !self.tables.has(table) {
                continue;
            }
            let count = self.count(table).await?;
            if count > 0 {
                source.note(format!("{count} rows of {table}"), why);
            }
        }
        if self.tables.has_column("users", "password_hash") {
            source.note(
                "the passwords of users",
                "are tokens that the plugin made, and may expire; `mlgate token create`",
            );
        }
        Ok(())
    }
}

/// A row as it was read.
struct Found<'a> {
    id: i64,
    owner: &'a str,
    first: String,
    second: String,
    permission: String,
    workspace: Option<String>,
    priority: i64,
    prompt: bool,
}

impl Found<'_> {
    /// The row, or the description of one that is about nothing.
    fn row(self, table: &Table, workspaces: bool) -> Result<Result<Row, String>, ImportError> {
        let (kind, holder) = match table.holder {
            HolderKind::User => ("user", Holder::User(self.owner.to_owned())),
            HolderKind::Group => ("group", Holder::Group(self.owner.to_owned())),
        };
        let resource = match (table.resource, self.prompt) {
            (ResourceType::RegisteredModel, true) => ResourceType::Prompt,
            (resource, _) => resource,
        };
        let object = match table.naming {
            Naming::Regex => format!("those that {:?} matches", self.first),
            Naming::Key(_) if !self.second.is_empty() => format!("{}/{}", self.first, self.second),
            Naming::Key(_) => self.first.clone(),
        };
        let what = format!("{} of {kind} {} on {resource} {object}", self.permission, self.owner);
        let level = match self.permission.parse() {
            // NO_PERMISSIONS refuses, whatever comes after it.
            Ok(Level::NoPermissions) => Level::Deny,
            Ok(level @ (Level::Read | Level::Use | Level::Edit | Level::Manage)) => level,
            _ => {
                let what = format!("row {} of {}", self.id, table.name);
                return Err(ImportError::unclear(what, "its permission is not known"));
            }
        };
        let place = match (self.workspace.as_deref(), table.naming) {
            (Some(EVERY_WORKSPACE), _) | (None, Naming::Regex) => Place::Everywhere,
            (Some(UNRESOLVED), _) => return Ok(Err(what)),
            // Of experiments and scorers, the experiment says where they are.
            (None, _) if matches!(resource, ResourceType::Experiment | ResourceType::Scorer) => {
                Place::Workspace(DEFAULT_WORKSPACE.to_owned())
            }
            (None, _) if workspaces => return Ok(Err(what)),
            (None, _) => Place::Workspace(DEFAULT_WORKSPACE.to_owned()),
            (Some(workspace), _) => Place::Workspace(workspace.to_owned()),
        };
        let (shape, within) = match (table.naming, resource) {
            (Naming::Regex, ResourceType::Experiment) => match shape(&self.first) {
                every @ Shape::Pattern(Pattern::Every) => (every, String::new()),
                // By name, of which the rows with ids say nothing.
                _ => (Shape::Unknown, String::new()),
            },
            (Naming::Regex, _) => (shape(&self.first), String::new()),
            (Naming::Key(_), ResourceType::Scorer) => {
                (Shape::Pattern(Pattern::Exact(self.second)), self.first)
            }
            (Naming::Key(_), _) => (Shape::Pattern(Pattern::Exact(self.first)), String::new()),
        };
        let rank = match (table.holder, table.naming) {
            (HolderKind::User, Naming::Key(_)) => Rank::Own,
            (HolderKind::Group, Naming::Key(_)) => Rank::Groups,
            (HolderKind::User, Naming::Regex) => Rank::Regex(self.priority),
            (HolderKind::Group, Naming::Regex) => Rank::GroupsRegex(self.priority),
        };
        Ok(Ok(Row { what, holder, resource, place, shape, within, level, rank }))
    }
}

fn text(row: &AnyRow, column: usize) -> sqlx::Result<Option<String>> {
    row.try_get::<Option<String>, _>(column)
}
