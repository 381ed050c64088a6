//! The skill registry of 3.18. Grants name a skill as `name` or `@organization/name`, which are one
//! or two segments of the path. Versions, tags and aliases have no tier of their own: what is
//! granted on the skill decides (mlflow.server.auth: `_SKILL_ROUTE_OPERATIONS`).

use crate::operation::{
    Effect, EffectId, Otherwise, Paging, ResponseWork, Rewrite, RowId, RowTest, Rows, WhenEmpty,
};
use crate::refusal::Refusal;
use crate::requirement::{Action, ResourceType::Skill, Standing};
use crate::surface::id::{Form, skill_key};
use crate::surface::inputs::{Field, Inputs};
use crate::surface::json::Value;

use super::super::Route;
use super::super::field::*;
use super::super::need::{Need, nameable, on};
use super::super::route::{ANYONE, EffectSpec, Mount::*, SelectSpec, delete, get, patch, post};

const NEW: Field = Field::one("name", Form::Skill);
const REGISTERED: Field = Field::some("skills[].name", Form::Skill);

/// The skill that the path names. MLflow takes it from nowhere else, so a query or a body that
/// names another one must have no say.
fn in_path(inputs: &Inputs) -> Result<String, Refusal> {
    let checked = |name: &'static str, form: Form| {
        let value = inputs.param(name);
        value.map_or(Ok(()), |value| form.check(name, value)).map(|()| value)
    };
    let organization = checked("organization", Form::Organization)?;
    let name = checked("name", Form::Skill)?;
    let name = name.ok_or_else(|| Refusal::invalid("name", "is required"))?;
    Ok(skill_key(organization, name))
}

/// The organization that a body names; to MLflow the empty one is none.
fn organization(inputs: &Inputs) -> Result<Option<&str>, Refusal> {
    match inputs.member("organization")? {
        None => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => {
            Form::Organization.check("organization", text)?;
            Ok(Some(text))
        }
        Some(_) => Err(Refusal::invalid("organization", "must be a string")),
    }
}

fn new(inputs: &Inputs) -> Result<String, Refusal> {
    Ok(skill_key(organization(inputs)?, &inputs.one(NEW)?))
}

macro_rules! skill {
    ($id:ident, $text:literal, $action:expr) => {
        const $id: &[Need] =
            &[Need::Rule($text, &[], |inputs| Ok(vec![on(Skill, $action, &in_path(inputs)?)]))];
    };
}

skill!(READS, "skill:read", READ);
skill!(UPDATES, "skill:update", UPDATE);
skill!(MANAGES, "skill:manage", MANAGE);

/// A version that is set to `deleted` is deleted.
const SETS_STATUS: &[Need] = &[Need::Rule("skill:update, or manage to delete", &[], |inputs| {
    let status = inputs.text("status")?.unwrap_or_default();
    let deletes = status.trim().eq_ignore_ascii_case("deleted");
    Ok(vec![on(Skill, if deletes { MANAGE } else { UPDATE }, &in_path(inputs)?)])
})];

const CREATES: &[Need] = &[
    Need::Standing(Standing::WorkspaceCreate),
    Need::Rule("the name not denied", &[NEW], |inputs| {
        let key = new(inputs)?;
        Ok(vec![on(Skill, Action::NotDenied, &key), nameable(Skill, key)])
    }),
];
const OWN: EffectSpec = EffectSpec::By(|inputs| {
    let key = new(inputs)?;
    Ok(vec![Effect::Created { resource: Skill, id: EffectId::Known(key.clone()), name: key }])
});
const FORGET: EffectSpec =
    EffectSpec::By(|inputs| Ok(vec![Effect::Deleted { resource: Skill, id: in_path(inputs)? }]));

const REGISTERS: &[Need] = &[Need::Rule("skill:update on each", &[REGISTERED], |inputs| {
    let organization = organization(inputs)?;
    let names = inputs.all(REGISTERED)?;
    if names.is_empty() {
        return Err(Refusal::invalid("skills", "must name a skill"));
    }
    Ok(names.iter().map(|name| on(Skill, UPDATE, &skill_key(organization, name))).collect())
})];

const MUST_EXIST: &str =
    "MLflow would make a missing skill for anybody who may create; make it first";

const KEY: RowId = RowId::Skill { organization: &["organization"], name: &["name"] };

/// Who may read a few skills searches among them: a filter over the others would tell, by the
/// page token, whether one of them fits. The tokens know nothing of this list, and would tell
/// those who see them of a condition in the filter.
const AMONG: SelectSpec = SelectSpec::Listed {
    resource: Skill,
    field: Field::many("include_skill_identities", Form::SkillKey),
    when_empty: WhenEmpty::Answer(r#"{"skills":[],"next_page_token":null}"#),
};

/// Search: every row says what its reader may do with it. Its tokens belong to the search as it
/// was asked, so that pages are not filled up.
const FOUND: ResponseWork = {
    static REWRITE: Rewrite = Rewrite {
        rows: &[
            Rows {
                at: &["skills", "[]"],
                keep: &[RowTest::MayItself { resource: Skill, action: READ, id: KEY }],
                otherwise: Otherwise::Drop,
            },
            Rows {
                at: &["skills", "[]"],
                keep: &[],
                otherwise: Otherwise::Stamp { resource: Skill, id: KEY },
            },
        ],
        redactions: &[],
        paging: Paging::AsTheyCome,
    };
    ResponseWork::Rewrite(&REWRITE)
};

/// Get, update.
const ONE: ResponseWork = {
    static REWRITE: Rewrite = Rewrite {
        rows: &[Rows {
            at: &[],
            keep: &[],
            otherwise: Otherwise::Stamp { resource: Skill, id: KEY },
        }],
        redactions: &[],
        paging: Paging::AsTheyCome,
    };
    ResponseWork::Rewrite(&REWRITE)
};

/// Lines that there are for a skill with and without an organization.
macro_rules! lines {
    ([$($first:expr),* $(,)?] $($method:ident $rest:literal $needs:ident $(.$with:ident($($arg:expr)?))*;)*) => {
        &[
            $($first,)*
            $(
                $method(Both, concat!("/3.0/mlflow/skills/{name}", $rest), $needs)
                    $(.$with($($arg)?))*,
                $method(Both, concat!("/3.0/mlflow/skills/@{organization}/{name}", $rest), $needs)
                    $(.$with($($arg)?))*,
            )*
        ]
    };
}

pub const ROUTES: &[Route] = lines! {
    [
        get(Both, "/3.0/mlflow/skills", ANYONE)
            .repeated(&["include_skill_identities"])
            .selecting(AMONG)
            .response(FOUND),
        post(Both, "/3.0/mlflow/skills", CREATES).then(&[OWN]),
        post(Both, "/3.0/mlflow/skills/bulk-register", REGISTERS).note(MUST_EXIST),
    ]
    get "" READS.response(ONE);
    patch "" UPDATES.response(ONE);
    delete "" MANAGES.then(&[FORGET]);
    get "/versions" READS;
    // The archive streams through: MLflow refuses metadata that names another skill than the path.
    post "/versions" UPDATES.streamed().note(MUST_EXIST);
    get "/versions/{version}" READS;
    patch "/versions/{version}" SETS_STATUS;
    delete "/versions/{version}" MANAGES;
    post "/versions/{version}/tags" UPDATES;
    delete "/versions/{version}/tags/{*key}" MANAGES;
    post "/tags" UPDATES;
    delete "/tags/{*key}" UPDATES;
    post "/aliases" UPDATES;
    get "/aliases/{alias}" READS;
    delete "/aliases/{alias}" MANAGES;
};
