//! The database of mlflow-oidc-auth, up to 11.0.2.

mod hiding;
mod known;
mod read;
mod regex;
mod tables;

use std::collections::BTreeMap;

use self::hiding::{Holder, Place, Row, hidden_by};
use self::known::Known;
use self::regex::Shape;
use super::legacy::quoted;
use super::mlflow::Tables;
use super::{ImportError, Source, SourceRole, at_one_moment};
use crate::domain::{DEFAULT_WORKSPACE, Level, Pattern, ResourceType};
use crate::store::DatabaseUrl;

/// The role that carries a group's grants in one workspace.
fn role_of(group: &str) -> String {
    format!("mlflow-oidc-auth: {group}")
}

/// Reads the database at one moment. `tracking` tells where experiments are, prompts from models,
/// and what ids the gateway's objects have; `floor` is the default permission that will hold here.
///
/// # Errors
/// `Database`, or `Unclear` where what is taken over could open more than there.
pub async fn read(
    url: &DatabaseUrl,
    tracking: Option<&DatabaseUrl>,
    floor: Level,
) -> Result<Source, ImportError> {
    let mut transaction = at_one_moment(url).await?;
    let tables = Tables::read(&mut transaction, url).await?;
    if !tables.has_column("users", "display_name") || !tables.has("experiment_permissions") {
        let why = "has no tables as mlflow-oidc-auth makes them";
        return Err(ImportError::unclear(url.to_string(), why));
    }
    let mut source = Source::default();
    let read = read::everything(&mut transaction, &tables, &mut source).await?;
    let known = Known::read(tracking).await?;
    if read.workspaces && tracking.is_none() {
        return Err(ImportError::unclear(
            "--tracking-uri",
            "is needed, because workspaces are used and experiments are named without theirs",
        ));
    }
    let placed: Vec<Result<Vec<Placed>, Left>> =
        read.rows.iter().map(|row| place(row, &known, read.workspaces)).collect();
    refuse_what_the_default_opens(&read.rows, &placed, floor)?;
    note_prompts(&read.rows, &known, &mut source);
    take(&read, placed, &mut source);
    members(&read, &mut source);
    Ok(source)
}

/// A row in our terms.
struct Placed {
    workspace: String,
    resource: ResourceType,
    pattern: Pattern,
}

/// Why a row is left out.
enum Left {
    /// It is about nothing there, either.
    Void(&'static str),
    /// It says something there that cannot be said here.
    Inexpressible(&'static str),
}

/// Where and on what the row is a grant here.
fn place(row: &Row, known: &Known, workspaces: bool) -> Result<Vec<Placed>, Left> {
    let Shape::Pattern(pattern) = &row.shape else {
        return Err(Left::Inexpressible("no glob says what its regular expression says"));
    };
    let workspace = match &row.place {
        Place::Workspace(workspace) => workspace.clone(),
        Place::Everywhere if workspaces => {
            return Err(Left::Inexpressible("a grant here is in one workspace"));
        }
        Place::Everywhere => DEFAULT_WORKSPACE.to_owned(),
    };
    let one = |workspace, pattern| Ok(vec![Placed { workspace, resource: row.resource, pattern }]);
    match (row.resource, pattern) {
        (_, Pattern::Every) => one(workspace, Pattern::Every),
        (ResourceType::Experiment, Pattern::Exact(id)) if !row.is_regex() => {
            let (workspace, id) = (known.workspace_of(id, workspace)?, id.clone());
            one(workspace, Pattern::Exact(id))
        }
        (ResourceType::Experiment, _) => {
            Err(Left::Inexpressible("experiments are granted by id here, not by name"))
        }
        (ResourceType::Scorer, pattern) => {
            let workspace = match row.within.as_str() {
                "" => workspace,
                experiment => known.workspace_of(experiment, workspace)?,
            };
            one(workspace, scorer(&row.within, pattern))
        }
        (resource, pattern) if Known::is_named_by_id(resource) => match pattern {
            Pattern::Exact(name) => {
                let id = known.id_of(resource, &workspace, name)?;
                one(workspace, Pattern::Exact(id))
            }
            _ => Err(Left::Inexpressible("the gateway's objects are granted by id here")),
        },
        (ResourceType::RegisteredModel, pattern) if !row.is_regex() => {
            let types = known.prompts().types(&workspace, pattern, row.level);
            let placed = |resource: &ResourceType| Placed {
                workspace: workspace.clone(),
                resource: *resource,
                pattern: pattern.clone(),
            };
            Ok(types.iter().map(placed).collect())
        }
        (_, pattern) => one(workspace, pattern.clone()),
    }
}

/// `experiment/name`, as MLflow makes scorers' keys; a star is never part of a quoted name.
fn scorer(experiment: &str, pattern: &Pattern) -> Pattern {
    let pieces = |text: &str| text.split('*').map(quoted).collect::<Vec<_>>().join("*");
    match (experiment, pattern) {
        ("", Pattern::Exact(name)) => Pattern::Glob(format!("*/{}", quoted(name))),
        ("", pattern) => Pattern::Glob(format!("*/{}", pieces(pattern.as_str()))),
        (experiment, pattern) => {
            Pattern::Exact(format!("{experiment}/{}", quoted(pattern.as_str())))
        }
    }
}

/// There, a row decides even where it is lower than the default. Here the default is a floor.
fn refuse_what_the_default_opens(
    rows: &[Row],
    placed: &[Result<Vec<Placed>, Left>],
    floor: Level,
) -> Result<(), ImportError> {
    if floor == Level::NoPermissions {
        return Ok(());
    }
    for (row, placed) in rows.iter().zip(placed) {
        let opened = match (row.level, placed) {
            (_, Err(Left::Void(_))) => false,
            (Level::Deny, Ok(_)) => false,
            (Level::Deny, Err(Left::Inexpressible(_))) => true,
            (level, _) => level < floor,
        };
        if opened {
            return Err(ImportError::unclear(
                row.what.as_str(),
                format!("would be raised to the default_permission {floor}; choose a lower one"),
            ));
        }
    }
    Ok(())
}

fn note_prompts(rows: &[Row], known: &Known, source: &mut Source) {
    let in_doubt = rows.iter().filter(|row| match &row.shape {
        Shape::Pattern(name) if row.resource == ResourceType::RegisteredModel => {
            !row.is_regex() && known.prompts().is_in_doubt(name, row.level)
        }
        _ => false,
    });
    let count = in_doubt.count();
    if count > 0 {
        source.note(
            format!("{count} permissions on registered models"),
            "are taken over for models only; with --tracking-uri, those on prompts are told apart",
        );
    }
}

/// Adds what can be taken over to the source, and notes on the rest.
fn take(read: &read::Read, placed: Vec<Result<Vec<Placed>, Left>>, source: &mut Source) {
    let mut of_type: BTreeMap<ResourceType, Vec<usize>> = BTreeMap::new();
    for (index, row) in read.rows.iter().enumerate() {
        of_type.entry(family(row.resource)).or_default().push(index);
    }
    // None of a row that is about nothing.
    let taken: Vec<Option<bool>> = placed
        .iter()
        .map(|placed| match placed {
            Ok(_) => Some(true),
            Err(Left::Inexpressible(_)) => Some(false),
            Err(Left::Void(_)) => None,
        })
        .collect();
    for (row, placed) in read.rows.iter().zip(placed) {
        let placed = match placed {
            Ok(placed) => placed,
            Err(Left::Void(why) | Left::Inexpressible(why)) => {
                source.note(row.what.as_str(), why);
                continue;
            }
        };
        let others = of_type.get(&family(row.resource)).into_iter().flatten();
        let others =
            others.filter_map(|&index| Some((read.rows.get(index)?, (*taken.get(index)?)?)));
        if let Some(other) = hidden_by(row, others, &read.members) {
            source.note(
                row.what.as_str(),
                format!("{} comes first there; here the higher one would count", other.what),
            );
            continue;
        }
        for placed in placed {
            add(source, row, placed);
        }
    }
}

/// Types whose rows can be about the same object.
fn family(resource: ResourceType) -> ResourceType {
    match resource {
        ResourceType::Prompt => ResourceType::RegisteredModel,
        other => other,
    }
}

fn add(source: &mut Source, row: &Row, placed: Placed) {
    let Placed { workspace, resource, pattern } = placed;
    match &row.holder {
        Holder::User(username) => {
            source.add_grant((username.clone(), workspace, resource, pattern), row.level);
        }
        Holder::Group(group) => {
            let key = (workspace, role_of(group));
            source.groups.entry(group.clone()).or_default().roles.insert(key.clone());
            let role = source.roles.entry(key).or_insert_with(|| SourceRole {
                description: Some(format!("What group {group} had in mlflow-oidc-auth")),
                ..SourceRole::default()
            });
            role.add(resource, pattern, row.level);
        }
    }
}

/// Groups that nobody gets anything from are of no use here.
fn members(read: &read::Read, source: &mut Source) {
    for (name, group) in &mut source.groups {
        group.members = read.kept.get(name).cloned().unwrap_or_default();
    }
}
