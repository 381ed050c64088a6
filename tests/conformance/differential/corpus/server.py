"""What belongs to the server: UI, health, GraphQL, workspaces, assistant, demo data."""

from .case import Case, Corpus

NOT_STARTED = (400, 404, 405, 412, 422, 500, 501)


def static() -> list[Case]:
    c = Corpus("static/ui")
    c.get("/")
    c.get("/version")
    c.get("/health")
    c.get("/3.0/mlflow/server-info")
    c.get("/static-files/{path:path}", at={"path": "index.html"})
    c.get("/build/{filename:path}", expect=404)
    c.get("/3.0/mlflow/ui-telemetry", only="ajax-api")
    c.post("/3.0/mlflow/ui-telemetry", {"records": []}, only="ajax-api", expect=(400, 500))
    return c.cases


def graphql() -> list[Case]:
    c = Corpus("graphql", "experiment", "run")

    def query(label: str, text: str, **more: object) -> None:
        c.post("/graphql", {"query": text.replace("${", "{"), **more}, label=label, visible=True)

    run = "{ mlflowGetRun(input: {runId: \"$run\"}) { run { info { runId experimentId } experiment { experimentId name } } } }"
    query("run", run)
    query("run by variable", "query Q($$id: String) { mlflowGetRun(input: {runId: $$id}) { run { info { runId experimentId } } } }",
          variables={"id": "$run"}, operationName="Q")  # fmt: skip
    query("experiment", "{ mlflowGetExperiment(input: {experimentId: \"$exp\"}) { experiment { experimentId name } } }")
    query("artifacts", "{ mlflowListArtifacts(input: {runId: \"$run\"}) { files { path } } }")
    history = "{ mlflowGetMetricHistoryBulkInterval(input: {runIds: [\"$run\"], metricKey: \"m\", maxResults: 5}) { metrics { runId value } } }"
    query("metric history", history)
    two = history.replace('"$run"', '"$a_run", "$b_run"')
    query("metric history of two runs", two)
    search = "mlflowSearchRuns(input: {experimentIds: [%s]}) { runs { info { runId experimentId } } }"
    query("runs", "mutation { " + search % '"$exp"' + " }")
    query("runs of two experiments", "mutation { " + search % '"$a_exp", "$b_exp"' + " }")
    query("datasets", "mutation { mlflowSearchDatasets(input: {experimentIds: [\"$exp\"]}) { datasetSummaries { experimentId } } }")
    c.tiers = ("registered_model", "run")
    query("model versions", "{ mlflowSearchModelVersions(input: {}) { modelVersions { name version } } }")
    c.tiers = ("experiment",)
    query("aliases", "{ x: mlflowGetExperiment(input: {experimentId: \"$a_exp\"}) { experiment { name } } "
                     "y: mlflowGetExperiment(input: {experimentId: \"$b_exp\"}) { experiment { name } } }")  # fmt: skip
    # It shows no ids, so that only the decision tells the sides apart.
    c.post("/graphql", {"query": "{ __schema { queryType { name } } }"}, label="introspection")
    c.add("GET", "/graphql", json={"query": run}, label="by GET", visible=True, expect=(400, 500))
    return c.cases


def workspaces() -> list[Case]:
    c = Corpus("workspace", "workspace")
    base = "/3.0/mlflow/workspaces"
    off = {"expect": (503,)}
    c.get(base, **off)
    c.post(base, {"name": "new"}, **off)
    c.get(base + "/{workspace_name}", **off)
    c.patch(base + "/{workspace_name}", {"workspace_name": "default", "description": "d"}, **off)
    c.delete(base + "/{workspace_name}", **off)
    return c.cases


def assistant() -> list[Case]:
    c = Corpus("assistant")
    base = "/3.0/mlflow/assistant/"
    session = base + "sessions/{session_id}"
    # Bodies that the handlers refuse: they would start programs and write files otherwise.
    ajax = {"only": "ajax-api", "expect": NOT_STARTED}
    c.post(base + "message", {"refuse": "this"}, **ajax)
    c.get(session + "/stream", **ajax)
    c.patch(session, {"refuse": "this"}, **ajax)
    c.post(session + "/permission", {"refuse": "this"}, **ajax)
    c.post(session + "/tool-result", {"refuse": "this"}, **ajax)
    c.get(base + "providers", **ajax)
    c.get(base + "providers/{provider}/health", **ajax)
    c.get(base + "providers/{provider}/models", **ajax)
    c.get(base + "config", **ajax)
    c.add("PUT", base + "config", json=["refuse this"], **ajax)
    c.post(base + "skills/install", {"refuse": "this"}, **ajax)
    c.family = "demo"
    c.post("/3.0/mlflow/demo/generate", {"features": ["none"]}, only="ajax-api", restore=True, expect=(500,))
    c.post("/3.0/mlflow/demo/delete", {}, only="ajax-api", restore=True, expect=(500,))
    return c.cases


def unknown() -> list[Case]:
    """Nothing serves these: the reference refuses them to all but admins."""
    c = Corpus("unknown route")
    c.get("/2.0/mlflow/no-such-thing", expect=404)
    c.get("/no-such-thing", expect=404)
    c.add("DELETE", "/2.0/mlflow/experiments/get", label="wrong method", expect=(404, 405))
    c.add("HEAD", "/2.0/mlflow/experiments/search", query=(("max_results", "1"),), expect=(200, 400, 404, 405))
    c.add("HEAD", "/get-artifact", query=(("run_id", "$run"), ("path", "a.txt")), expect=(200, 404))
    c.add("OPTIONS", "/2.0/mlflow/experiments/search")
    return c.cases


def cases() -> list[Case]:
    return static() + graphql() + workspaces() + assistant() + unknown()
