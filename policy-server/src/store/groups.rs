//! Groups: members kept here or claimed by a JWT, and the roles that a group gives.

use serde_json::{Value, json};
use sqlx::Row;

use super::Store;
use super::error::{Entity, Result, StoreError};
use super::model::{Actor, Committed, Group, GroupId, Role, RoleId, User, UserId};
use super::roles::refuse_hidden;
use super::users::MAX_NAME_BYTES;
use super::write::{WriteTx, check_name};

const ADD_MEMBER: &str =
    "INSERT INTO group_members (group_id, user_id) VALUES ($1, $2) ON CONFLICT DO NOTHING";
const REMOVE_MEMBER: &str = "DELETE FROM group_members WHERE group_id = $1 AND user_id = $2";
const ADD_ROLE: &str =
    "INSERT INTO group_roles (group_id, role_id) VALUES ($1, $2) ON CONFLICT DO NOTHING";
const REMOVE_ROLE: &str = "DELETE FROM group_roles WHERE group_id = $1 AND role_id = $2";

impl Store {
    /// All groups, by name, with their members and roles.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn groups(&self) -> Result<Vec<Group>> {
        let rows = sqlx::query(
            "SELECT g.id, g.name, u.username, NULL AS role_id FROM user_groups g \
             LEFT JOIN group_members m ON m.group_id = g.id LEFT JOIN users u ON u.id = m.user_id \
             UNION ALL \
             SELECT g.id, g.name, NULL, r.role_id FROM user_groups g \
             JOIN group_roles r ON r.group_id = g.id \
             ORDER BY 2, 3, 4",
        )
        .fetch_all(self.pool())
        .await?;
        let mut groups: Vec<Group> = Vec::new();
        for row in &rows {
            let id = GroupId(row.try_get(0)?);
            if groups.last().map(|last| last.id) != Some(id) {
                let name = row.try_get(1)?;
                groups.push(Group { id, name, members: Vec::new(), roles: Vec::new() });
            }
            let Some(group) = groups.last_mut() else { continue };
            group.members.extend(row.try_get::<Option<String>, _>(2)?);
            group.roles.extend(row.try_get::<Option<i64>, _>(3)?.map(RoleId));
        }
        Ok(groups)
    }

    /// # Errors
    /// `AlreadyExists`, `Invalid`, `Unavailable`.
    pub async fn create_group(&self, actor: &Actor, name: &str) -> Result<Committed<GroupId>> {
        let mut tx = self.begin(actor).await?;
        if tx.find_group(name).await?.is_some() {
            return Err(StoreError::exists(Entity::Group, name));
        }
        let id = tx.insert_group(name).await?;
        tx.commit(id).await
    }

    /// # Errors
    /// `NotFound`, `Unavailable`.
    pub async fn delete_group(&self, actor: &Actor, name: &str) -> Result<Committed<()>> {
        let mut tx = self.begin(actor).await?;
        let id = tx.require_group(name).await?;
        // Members that are kept here stop seeing the group's scope, so they are named too.
        let members = sqlx::query(
            "SELECT u.username FROM group_members m JOIN users u ON u.id = m.user_id \
             WHERE m.group_id = $1",
        )
        .bind(id.0)
        .fetch_all(tx.connection())
        .await?;
        for row in &members {
            tx.touch_user(row.try_get(0)?);
        }
        sqlx::query("DELETE FROM user_groups WHERE id = $1")
            .bind(id.0)
            .execute(tx.connection())
            .await?;
        tx.touch_group(name);
        tx.audit("group.delete", name, Some(json!({ "id": id })), None).await?;
        tx.commit(()).await
    }

    /// Adds the user to the group, which is created if it is not there.
    ///
    /// # Errors
    /// `NotFound` for the user, `AlreadyExists`, `Invalid`, `Unavailable`.
    pub async fn add_group_member(
        &self,
        actor: &Actor,
        group: &str,
        username: &str,
    ) -> Result<Committed<()>> {
        let mut tx = self.begin(actor).await?;
        let user = tx.require_user(username).await?;
        if !tx.link_group_member(group, &user).await? {
            let key = format!("{username} of {group}");
            return Err(StoreError::exists(Entity::GroupMember, key));
        }
        tx.commit(()).await
    }

    /// # Errors
    /// `NotFound`, `Unavailable`.
    pub async fn remove_group_member(
        &self,
        actor: &Actor,
        group: &str,
        username: &str,
    ) -> Result<Committed<()>> {
        let mut tx = self.begin(actor).await?;
        let user = tx.require_user(username).await?;
        let id = tx.require_group(group).await?;
        let removed = tx.link(REMOVE_MEMBER, id, user.id.0).await?;
        if !removed {
            let key = format!("{username} of {group}");
            return Err(StoreError::not_found(Entity::GroupMember, key));
        }
        tx.touch_user(username);
        tx.audit("group.remove_member", group, Some(json!(username)), None).await?;
        tx.commit(()).await
    }

    /// Gives the role to the group, which is created if it is not there.
    ///
    /// # Errors
    /// `NotFound` for the role, `AlreadyExists`, `Invalid`, `Unavailable`.
    pub async fn add_group_role(
        &self,
        actor: &Actor,
        group: &str,
        role: RoleId,
    ) -> Result<Committed<()>> {
        let mut tx = self.begin(actor).await?;
        let role = tx.require_role(role).await?;
        refuse_hidden(&role)?;
        let id = tx.group(group).await?;
        if !tx.insert_group_role(id, &role).await? {
            let key = format!("{} of {group}", role.name);
            return Err(StoreError::exists(Entity::GroupRole, key));
        }
        tx.touch_group(group);
        tx.audit("group.add_role", group, None, Some(role_json(&role))).await?;
        tx.commit(()).await
    }

    /// # Errors
    /// `NotFound`, `Unavailable`.
    pub async fn remove_group_role(
        &self,
        actor: &Actor,
        group: &str,
        role: RoleId,
    ) -> Result<Committed<()>> {
        let mut tx = self.begin(actor).await?;
        let id = tx.require_group(group).await?;
        let removed = tx.link(REMOVE_ROLE, id, role.0).await?;
        if !removed {
            return Err(StoreError::not_found(Entity::GroupRole, format!("{role} of {group}")));
        }
        tx.touch_group(group);
        tx.audit("group.remove_role", group, Some(json!({ "role_id": role })), None).await?;
        tx.commit(()).await
    }
}

/// Who may be a member of a group: by claim, or as kept here.
pub(super) struct MemberOf<'a> {
    pub claimed: &'a [String],
    pub user: UserId,
}

impl WriteTx<'_> {
    pub(super) async fn is_member(&mut self, group: &str, who: &MemberOf<'_>) -> Result<bool> {
        if who.claimed.iter().any(|claimed| claimed == group) {
            return Ok(true);
        }
        let kept = sqlx::query(
            "SELECT 1 FROM group_members m JOIN user_groups g ON g.id = m.group_id \
             WHERE g.name = $1 AND m.user_id = $2",
        )
        .bind(group)
        .bind(who.user.0)
        .fetch_optional(self.connection())
        .await?;
        Ok(kept.is_some())
    }

    /// Makes the user a member of the group, which is created if it is not there; whether they
    /// were none before.
    pub(crate) async fn link_group_member(&mut self, group: &str, user: &User) -> Result<bool> {
        let id = self.group(group).await?;
        let added = self.link(ADD_MEMBER, id, user.id.0).await?;
        if added {
            self.touch_user(&user.username);
            self.audit("group.add_member", group, None, Some(json!(user.username))).await?;
        }
        Ok(added)
    }

    /// Gives the role to the group unless it has it.
    pub(crate) async fn link_group_role(&mut self, group: &str, role: &Role) -> Result<()> {
        let id = self.group(group).await?;
        if self.insert_group_role(id, role).await? {
            self.touch_group(group);
            self.audit("group.add_role", group, None, Some(role_json(role))).await?;
        }
        Ok(())
    }

    /// Whether the group did not have the role before.
    async fn insert_group_role(&mut self, group: GroupId, role: &Role) -> Result<bool> {
        self.link(ADD_ROLE, group, role.id.0).await
    }

    /// Adds or removes a row of a group and a user or a role; whether that changed anything.
    async fn link(&mut self, statement: &'static str, group: GroupId, id: i64) -> Result<bool> {
        let done = sqlx::query(statement).bind(group.0).bind(id).execute(self.connection()).await?;
        Ok(done.rows_affected() > 0)
    }

    async fn find_group(&mut self, name: &str) -> Result<Option<GroupId>> {
        sqlx::query("SELECT id FROM user_groups WHERE name = $1")
            .bind(name)
            .fetch_optional(self.connection())
            .await?
            .map(|row| Ok(GroupId(row.try_get(0)?)))
            .transpose()
    }

    async fn require_group(&mut self, name: &str) -> Result<GroupId> {
        self.find_group(name).await?.ok_or_else(|| StoreError::not_found(Entity::Group, name))
    }

    async fn group(&mut self, name: &str) -> Result<GroupId> {
        match self.find_group(name).await? {
            Some(id) => Ok(id),
            None => self.insert_group(name).await,
        }
    }

    async fn insert_group(&mut self, name: &str) -> Result<GroupId> {
        check_name("group", name, MAX_NAME_BYTES)?;
        let row = sqlx::query("INSERT INTO user_groups (name) VALUES ($1) RETURNING id")
            .bind(name)
            .fetch_one(self.connection())
            .await?;
        let id = GroupId(row.try_get(0)?);
        self.touch_group(name);
        self.audit("group.create", name, None, Some(json!({ "id": id }))).await?;
        Ok(id)
    }
}

fn role_json(role: &Role) -> Value {
    json!({ "role_id": role.id, "role": role.name, "workspace": role.workspace })
}
