"""The AI gateway: secrets, model definitions, endpoints, guardrails, budgets, invocation; and MCP servers."""

from .case import Case, Corpus

# Requests to a provider with a made-up key fail, in one way or another.
NO_PROVIDER = (400, 404, 422, 500, 501, 502, 503, 504)


def objects() -> list[Case]:
    c = Corpus("gateway", "gateway_secret")
    v3 = "/3.0/mlflow/gateway/"
    secret = {"secret_id": "$secret"}
    value = {"secret_value": {"api_key": "sk-other"}}
    c.post(v3 + "secrets/create", {"secret_name": "new-$unique", "provider": "openai"} | value, restore=True, tiers=("gateway_secret", "workspace"))
    c.get(v3 + "secrets/get", secret, visible=True)
    c.get(v3 + "secrets/list", visible=True, tiers=("gateway_secret", "workspace"))
    c.post(v3 + "secrets/update", secret | value, restore=True)
    c.delete(v3 + "secrets/delete", secret, restore=True, expect=400)
    c.get(v3 + "secrets/config", only="ajax-api", tiers=())
    for kind in ("supported-providers", "supported-models"):
        c.get(v3 + kind, only="ajax-api", tiers=())
    c.get(v3 + "provider-config", {"provider": "openai"}, only="ajax-api", tiers=())
    definition = {"model_definition_id": "$definition"}
    both = {"tiers": ("gateway_model_definition", "gateway_secret")}
    new = {"name": "new-$unique", "provider": "openai", "model_name": "m"}
    c.post(v3 + "model-definitions/create", new | secret, restore=True, **both)
    c.post(v3 + "model-definitions/create", new | {"secret_id": "$b_secret"}, restore=True, label="foreign secret", **both)
    c.get(v3 + "model-definitions/get", definition, visible=True, **both)
    c.get(v3 + "model-definitions/list", visible=True, **both)
    c.get(v3 + "model-definitions/list", secret, label="of a secret", visible=True, **both)
    c.post(v3 + "model-definitions/update", definition | {"model_name": "m"}, **both)
    c.post(v3 + "model-definitions/update", definition | {"secret_id": "$b_secret"}, restore=True, label="foreign secret", **both)
    c.delete(v3 + "model-definitions/delete", definition, restore=True, expect=500, **both)
    return c.cases


def endpoints() -> list[Case]:
    c = Corpus("gateway", "gateway_endpoint")
    v3 = "/3.0/mlflow/gateway/endpoints/"
    one = {"endpoint_id": "$endpoint"}
    definitions = {"tiers": ("gateway_endpoint", "gateway_model_definition", "gateway_secret")}

    def configured(definition: str) -> dict:
        return {"model_definition_id": definition, "linkage_type": "PRIMARY", "weight": 1.0}

    new = {"name": "new-$unique", "usage_tracking": False}
    c.post(v3 + "create", new | {"model_configs": [configured("$definition")]}, restore=True, **definitions)
    c.post(v3 + "create", new | {"model_configs": [configured("$b_definition")]}, restore=True, label="foreign definition", **definitions)
    tracked = {"name": "new-$unique", "usage_tracking": True, "experiment_id": "$exp", "model_configs": [configured("$definition")]}
    c.post(v3 + "create", tracked, restore=True, label="experiment", tiers=("gateway_endpoint", "gateway_model_definition", "experiment"))
    c.get(v3 + "get", one, visible=True, **definitions)
    c.get(v3 + "get", {"name": "$endpoint_name"}, label="by name", visible=True, expect=400)
    c.get(v3 + "list", visible=True, tiers=("gateway_endpoint", "gateway_model_definition", "workspace"))
    c.post(v3 + "update", one | {"name": "$endpoint_name"})
    c.post(v3 + "update", one | {"model_configs": [configured("$b_definition")]}, restore=True, label="foreign definition", **definitions)
    c.post(v3 + "update", one | {"experiment_id": "$b_exp"}, restore=True, label="foreign experiment", tiers=("gateway_endpoint", "experiment"))
    c.post(v3 + "set-tag", one | {"key": "k", "value": "v"})
    c.delete(v3 + "delete-tag", one | {"key": "t"}, restore=True)
    c.post(v3 + "models/attach", one | {"model_config": configured("$definition2")}, restore=True, **definitions)
    c.post(v3 + "models/attach", one | {"model_config": configured("$b_definition")}, restore=True, label="foreign definition", **definitions)
    c.post(v3 + "models/detach", one | {"model_definition_id": "$definition"}, restore=True, **definitions)
    binding = one | {"resource_type": "scorer", "resource_id": "$scorer_id"}
    c.get(v3 + "bindings/list", one, visible=True)
    c.get(v3 + "bindings/list", label="all")
    c.post(v3 + "bindings/create", binding | {"resource_id": "other"}, restore=True, expect=(400, 404, 500))
    c.delete(v3 + "bindings/delete", binding, restore=True)
    c.delete(v3 + "delete", one, restore=True, expect=400)
    guardrails = "/3.0/mlflow/gateway/guardrails/"
    guardrail = {"guardrail_id": "$guardrail"}
    scored = {"tiers": ("gateway_endpoint", "scorer", "scorer_version")}
    c.get(guardrails + "list-for-endpoint", one, visible=True, **scored)
    c.patch(guardrails + "update-config", one | guardrail | {"execution_order": 2}, **scored)
    c.delete(guardrails + "remove-from-endpoint", one | guardrail, restore=True)
    c.post(guardrails + "add-to-endpoint", one | guardrail | {"execution_order": 1}, expect=(400, 409, 500), **scored)
    c.get(guardrails + "get", guardrail)
    c.get(guardrails + "list")
    new_guardrail = {"name": "new-$unique", "scorer_id": "$scorer_id", "scorer_version": 1, "stage": "BEFORE", "action": "VALIDATION"}
    c.post(guardrails + "create", new_guardrail, restore=True)
    c.delete(guardrails + "delete", guardrail, restore=True)
    return c.cases


def budgets() -> list[Case]:
    c = Corpus("gateway")
    v3 = "/3.0/mlflow/gateway/budgets/"
    amount = {
        "budget_unit": "USD", "budget_amount": 20, "duration": {"unit": "DAYS", "value": 1},
        "target_scope": "GLOBAL", "budget_action": "ALERT",
    }  # fmt: skip
    c.post(v3 + "create", amount, restore=True)
    c.get(v3 + "get", {"budget_policy_id": "$budget"})
    c.get(v3 + "list")
    c.get(v3 + "windows")
    c.post(v3 + "update", amount | {"budget_policy_id": "$budget"}, restore=True)
    c.delete(v3 + "delete", {"budget_policy_id": "$budget"}, restore=True)
    return c.cases


def invocation() -> list[Case]:
    c = Corpus("gateway", "gateway_endpoint")
    # The body that the handler refuses before it calls a provider: the decision is made by then.
    answer = {"expect": NO_PROVIDER}
    named = {"model": "$endpoint_name", "messages": []}
    c.get("/gateway/mlflow/v1/models", visible=True)
    for path in (
        "mlflow/v1/chat/completions",
        "openai/v1/chat/completions",
        "openai/v1/embeddings",
        "openai/v1/responses",
        "openai/v1/responses/compact",
        "anthropic/v1/messages",
        "typesafe/v1/systemone",
    ):
        c.post("/gateway/" + path, named, **answer)
    c.post("/gateway/{endpoint_name}/mlflow/invocations", {"messages": []}, **answer)
    for verb in ("generateContent", "streamGenerateContent"):
        c.post("/gateway/gemini/v1beta/models/{endpoint_name}:" + verb, {"contents": []}, **answer)
    c.post("/gateway/proxy/{endpoint_name}/{path:path}", {"x": 1}, **answer)
    proxy = "/2.0/mlflow/gateway-proxy"
    c.get(proxy, {"gateway_path": "api/2.0/endpoints/"}, only="ajax-api", tiers=())
    c.post(proxy, {"gateway_path": "gateway/x/invocations", "json_data": {}}, only="ajax-api", tiers=(), **answer)
    return c.cases


def mcp_servers() -> list[Case]:
    c = Corpus("mcp", "mcp_server", "mcp_server_version")
    base = "/3.0/mlflow/mcp-servers"
    one = base + "/{name:path}"
    version = one + "/versions/{version:path}"
    c.post(base, {"name": "com.example/new-$unique"}, restore=True, tiers=("mcp_server", "workspace"))
    c.get(base, visible=True)
    c.get(base + "/endpoints", visible=True)
    c.get(base + "/endpoints", {"server_version": "1.0.0"}, label="of a version", visible=True, expect=(400, 422))
    c.get(one, visible=True)
    c.patch(one, {"description": "d"})
    c.delete(one, restore=True, expect=400)
    document = {"name": "$mcp", "version": "2.0.0", "description": "d"}
    c.post(one + "/versions", {"server_json": document}, restore=True)
    document = {"name": "com.example/new-$unique", "version": "1.0.0", "description": "d"}
    c.post(one + "/versions", {"server_json": document}, at={"name": "com.example/new-$unique"}, restore=True, label="creates the server")
    c.get(one + "/versions", visible=True)
    c.get(version, visible=True)
    c.patch(version, {"status": "deprecated"}, restore=True)
    c.delete(version, restore=True, expect=400)
    c.post(version + "/tags", {"key": "k", "value": "v"})
    c.delete(version + "/tags/{key:path}", restore=True)
    endpoint = {"url": "https://mcp.example.com/new", "server_version": "1.0.0"}
    c.post(one + "/endpoints", endpoint, restore=True)
    c.post(one + "/endpoints", {"url": "https://mcp.example.com/new"}, restore=True, label="no version", expect=(400, 422))
    c.get(one + "/endpoints", visible=True)
    c.get(one + "/endpoints/{endpoint_id}", visible=True)
    c.patch(one + "/endpoints/{endpoint_id}", {"url": "https://mcp.example.com/moved"}, restore=True)
    c.delete(one + "/endpoints/{endpoint_id}", restore=True)
    c.post(one + "/tags", {"key": "k", "value": "v"})
    c.delete(one + "/tags/{key:path}", restore=True)
    c.post(one + "/aliases", {"alias": "new", "version": "1.0.0"}, restore=True)
    c.get(one + "/aliases/{alias:path}", visible=True)
    c.delete(one + "/aliases/{alias:path}", restore=True)
    return c.cases


def cases() -> list[Case]:
    return objects() + endpoints() + budgets() + invocation() + mcp_servers()
