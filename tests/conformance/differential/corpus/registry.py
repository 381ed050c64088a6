"""Registered models and prompts, their versions and aliases, and webhooks."""

from .case import Case, Corpus

PROMPT_TAG = {"key": "mlflow.prompt.is_prompt", "value": "true"}


def objects(label: str, placeholder: str, tier: str, version_tier: str) -> list[Case]:
    c = Corpus(tier.replace("_", "-"), tier)
    base = "/2.0/mlflow/registered-models/"
    name = {"name": placeholder}
    both = {"tiers": (tier, version_tier), "label": label}
    only = {"label": label}
    tags = [PROMPT_TAG] if tier == "prompt" else []
    c.post(base + "create", {"name": "new-$unique", "tags": tags}, restore=True, label=label, tiers=(tier, "workspace"))
    c.delete(base + "delete", name, restore=True, **both)
    c.delete(base + "delete-tag", name | {"key": "t"}, restore=True, **only)
    c.get(base + "get", name, visible=True, **both)
    c.get(base + "get-latest-versions", name, visible=True, **both)
    c.post(base + "get-latest-versions", name, **both)
    c.post(base + "rename", name | {"new_name": "renamed-$unique"}, restore=True, **only)
    c.post(base + "set-tag", name | {"key": "k", "value": "v"}, **only)
    c.patch(base + "update", name | {"description": "d"}, **both)
    c.get(base + "alias", name | {"alias": "champ"}, visible=True, **both)
    c.post(base + "alias", name | {"alias": "new", "version": "2"}, **both)
    c.delete(base + "alias", name | {"alias": "champ"}, restore=True, **both)
    version = name | {"version": "1"}
    c.family = version_tier.replace("_", "-")
    base = "/2.0/mlflow/model-versions/"
    create = name | {"source": "mlflow-artifacts:/$exp/$run/artifacts", "run_id": "$run"}
    if tier == "prompt":
        create = name | {"source": "dummy-source", "tags": [PROMPT_TAG, {"key": "mlflow.prompt.text", "value": "x"}]}
    c.post(base + "create", create, restore=True, **both)
    c.delete(base + "delete", version, restore=True, **both)
    c.delete(base + "delete-tag", version | {"key": "t"}, restore=True, **both)
    c.get(base + "get", version, visible=True, **both)
    c.get(base + "get-download-uri", version, **both)
    c.post(base + "set-tag", version | {"key": "k", "value": "v"}, **both)
    stage = version | {"stage": "Staging", "archive_existing_versions": False}
    c.post(base + "transition-stage", stage, **both)
    c.patch(base + "update", version | {"description": "d"}, **both)
    c.get("/model-versions/get-artifact", version | {"path": "a.txt"}, expect=(400, 404, 500), **both)
    return c.cases


def references() -> list[Case]:
    """Versions made from runs and models of others, and the searches."""
    tiers = ("registered_model", "registered_model_version", "experiment", "run", "logged_model")
    c = Corpus("registered-model-version", *tiers)
    create = "/2.0/mlflow/model-versions/create"
    run_source = {"name": "$rm", "source": "mlflow-artifacts:/$b_exp/$b_run/artifacts", "run_id": "$b_run"}
    c.post(create, run_source, label="foreign run", restore=True)
    c.post(create, {"name": "$rm", "source": "models:/$b_model"}, label="foreign logged model", restore=True, expect=400)
    c.post(create, {"name": "$rm", "source": "models:/$model"}, label="logged model", restore=True, expect=400)
    c.post(create, {"name": "$rm", "source": "models:/$b_rm/1"}, label="foreign registered model", restore=True, expect=400)
    model_source = {"name": "$rm", "source": "mlflow-artifacts:/$b_exp/models/$b_model/artifacts", "model_id": "$b_model"}
    c.post(create, model_source, label="foreign model_id", restore=True)
    versions = "/2.0/mlflow/model-versions/search"
    lists = ("registered_model", "prompt", "registered_model_version", "run", "logged_model")
    c.get(versions, {"max_results": "100"}, visible=True, tiers=lists)
    c.get(versions, {"filter": "run_id = '$run'"}, label="filter names a run", visible=True, tiers=("registered_model", "run"))
    c.family = "registered-model"
    models = "/2.0/mlflow/registered-models/search"
    prompts = "tags.`mlflow.prompt.is_prompt` = 'true'"
    c.get(models, {"max_results": "100"}, visible=True, tiers=lists)
    c.get(models, {"max_results": "1"}, label="short page", visible=True, tiers=("registered_model",))
    c.get(models, {"filter": prompts}, label="prompts", visible=True, tiers=("registered_model", "prompt", "prompt_version"))
    c.get("/2.0/mlflow/registered-models/get", {"name": "absent"}, label="absent", expect=404, tiers=("registered_model",))
    return c.cases


def webhooks() -> list[Case]:
    c = Corpus("webhook")
    base = "/2.0/mlflow/webhooks"
    one = base + "/{webhook_id}"
    hook = {
        "name": "w", "url": "https://127.0.0.1:9/hook",
        "events": [{"entity": "REGISTERED_MODEL", "action": "CREATED"}],
    }  # fmt: skip
    c.get(base, visible=True)
    c.post(base, hook, restore=True)
    c.get(one)
    c.patch(one, {"webhook_id": "$webhook", "name": "renamed"}, restore=True)
    c.delete(one, restore=True)
    c.post(one + "/test", {"webhook_id": "$webhook"})
    return c.cases


def cases() -> list[Case]:
    return (
        objects("", "$rm", "registered_model", "registered_model_version")
        + objects("prompt", "$prompt", "prompt", "prompt_version")
        + references()
        + webhooks()
    )
