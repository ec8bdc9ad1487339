"""The Helm chart, rendered by Helm's own engine: what Kubernetes accepts, and what the parts say of each other."""

import json
from typing import Any

import pytest

from tests.chart.rendering import (
    HAS_LIBRARY,
    HELM,
    ChartRefused,
    Document,
    containers,
    environment,
    findings,
    named,
    pods,
    render,
)

pytestmark = pytest.mark.skipif(not (HELM or HAS_LIBRARY), reason="neither `helm` nor its engine: run `make chart`")

KUBERNETES = ("1.27", "1.31", "1.34")
NOT_KUBERNETES_OWN = {"ServiceMonitor"}
PEER = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "web"}}}
VARIANTS: dict[str, Document] = {
    "as it comes": {},
    "one of each": {
        "nats": {"replicas": 1},
        "gateway": {"replicas": 1},
        "scheduler": {"replicas": 1},
        "profiler": {"replicas": 0},
        "podDisruptionBudgets": False,
        "networkPolicy": {"enabled": False},
        "telemetry": {"metricsPort": 0},
    },
    "all of it": {
        "image": {"registry": "registry.example.org/team/", "tag": "1.2.3", "pullSecrets": ["pull"]},
        "nats": {"storageClass": "fast", "allowFrom": [PEER]},
        "gateway": {
            "autoscaling": {"enabled": True},
            "allowFrom": [PEER],
            "env": {"FASTGSHARE_MAX_BODY_MIB": "128"},
            "service": {"type": "LoadBalancer", "annotations": {"a": "b"}},
        },
        "nodeManager": {
            "device": "cuda",
            "gpus": 2,
            "runtimeClassName": "nvidia",
            "nodeSelector": {"gpu": "yes"},
            "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
        },
        "telemetry": {
            "otlpEndpoint": "http://collector.observability:4318",
            "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
            "allowFrom": [PEER],
        },
        "podAnnotations": {"a": "b"},
        "priorityClassName": "high",
    },
    "a bus elsewhere": {
        "nats": {"enabled": False, "externalServers": ["a.example.org:4222", "b.example.org:4222"], "copies": 3},
        "auth": {"existingSecret": "bus"},
    },
}


@pytest.fixture(params=VARIANTS, scope="module")
def documents(request: pytest.FixtureRequest) -> list[Document]:
    return render(VARIANTS[request.param])


def test_helm_finds_nothing_to_say() -> None:
    assert findings() == []


@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_takes_every_document(documents: list[Document], version: str) -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="no schemas: run `make chart`")
    for document in documents:
        if document["kind"] not in NOT_KUBERNETES_OWN:
            kubernetes_validate.validate(document, version, strict=True)


def test_names_are_used_once(documents: list[Document]) -> None:
    names = [(document["kind"], document["metadata"]["name"]) for document in documents]
    assert sorted(names) == sorted(set(names))


def test_nothing_runs_as_root_or_writes_to_its_image(documents: list[Document]) -> None:
    for _, pod, container in containers(documents):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_every_container_is_pinned_and_bounded(documents: list[Document]) -> None:
    for _, _, container in containers(documents):
        assert not container["image"].endswith(":latest")
        assert container["image"].count(":") == 1
        assert container["resources"]["requests"].keys() >= {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]


def test_what_runs_on_is_watched(documents: list[Document]) -> None:
    for document, _, container in containers(documents):
        if document["kind"] not in ("Job", "Pod"):
            assert container.keys() >= {"startupProbe", "readinessProbe", "livenessProbe"}, document["metadata"]["name"]


def test_every_mount_has_a_volume_and_every_volume_a_mount(documents: list[Document]) -> None:
    for document, pod, container in containers(documents):
        claims = {claim["metadata"]["name"] for claim in document["spec"].get("volumeClaimTemplates", ())}
        volumes = {volume["name"] for volume in pod.get("volumes", ())} | claims
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes


def test_selectors_find_their_pods(documents: list[Document]) -> None:
    labels = [pod["metadata"]["labels"] for _, pod in pods(documents)]
    for document in documents:
        selector = _selector(document)
        if selector:
            assert any(selector.items() <= found.items() for found in labels), document["metadata"]["name"]


def test_services_lead_to_ports_that_there_are(documents: list[Document]) -> None:
    for service in (document for document in documents if document["kind"] == "Service"):
        selector = service["spec"]["selector"]
        chosen = [pod for _, pod in pods(documents) if selector.items() <= pod["metadata"]["labels"].items()]
        for pod in chosen:
            names = {port["name"] for container in pod["spec"]["containers"] for port in container.get("ports", ())}
            assert {port["targetPort"] for port in service["spec"]["ports"]} <= names


def test_each_service_is_its_own_user_with_its_own_password(documents: list[Document]) -> None:
    for _, pod, container in containers(documents):
        url = environment(container).get("FASTGSHARE_NATS_URL")
        if url is None:
            continue
        (secret,) = (volume["secret"] for volume in pod["volumes"] if "secret" in volume)
        assert [item["key"] for item in secret["items"]] == [url.removeprefix("nats://").partition("@")[0]]


def test_passwords_are_what_the_server_knows() -> None:
    made = named(render(), "Secret")["stringData"]
    known = json.loads(made.pop("passwords.json"))
    assert known.pop("route")
    assert known == made
    assert len(set(known.values())) == len(known)


def test_a_secret_of_ones_own_is_used_and_none_is_made() -> None:
    documents = render({"auth": {"existingSecret": "mine"}})
    assert not [document for document in documents if document["kind"] == "Secret"]
    used = {volume["secret"]["secretName"] for _, pod, _ in containers(documents) for volume in _secrets(pod)}
    assert used == {"mine"}


def test_the_servers_of_a_cluster_know_each_other_and_keep_three_copies() -> None:
    documents = render()
    (server,) = named(documents, "StatefulSet")["spec"]["template"]["spec"]["containers"]
    hosts = environment(server)["NATS_ROUTES"].split()
    assert hosts == [f"demo-fastgshare-nats-{index}.demo-fastgshare-nats-routes" for index in range(3)]
    assert _provision(documents)["FASTGSHARE_STORAGE_REPLICAS"] == "3"
    assert named(documents, "StatefulSet")["spec"]["podManagementPolicy"] == "Parallel"


def test_one_server_alone_has_no_routes_and_one_copy() -> None:
    documents = render({"nats": {"replicas": 1}})
    (server,) = named(documents, "StatefulSet")["spec"]["template"]["spec"]["containers"]
    assert "NATS_ROUTES" not in environment(server)
    assert _provision(documents)["FASTGSHARE_STORAGE_REPLICAS"] == "1"


def test_a_bus_elsewhere_is_used_by_all() -> None:
    documents = render(VARIANTS["a bus elsewhere"])
    assert not [document for document in documents if document["kind"] == "StatefulSet"]
    urls = {environment(container)["FASTGSHARE_NATS_URL"] for _, _, container in containers(documents)}
    assert {url.partition("@")[2] for url in urls} == {"a.example.org:4222,b.example.org:4222"}


def test_copies_are_said_where_addresses_do_not_tell_how_many_servers_there_are() -> None:
    assert _provision(render(VARIANTS["a bus elsewhere"]))["FASTGSHARE_STORAGE_REPLICAS"] == "3"
    assert _provision(render({"nats": {"replicas": 5, "copies": 3}}))["FASTGSHARE_STORAGE_REPLICAS"] == "3"


def test_models_of_the_largest_size_may_be_uploaded() -> None:
    gateway = named(render(), "Deployment", "-gateway")["spec"]["template"]["spec"]
    (room,) = (volume["emptyDir"] for volume in gateway["volumes"] if volume["name"] == "tmp")
    assert room["sizeLimit"] == "4Gi"


def test_an_installation_without_profilers_passes_its_own_test() -> None:
    assert named(render(), "Pod")["spec"]["containers"][0]["args"] == ["status", "--check"]
    without = named(render({"profiler": {"replicas": 0}}), "Pod")["spec"]["containers"][0]
    assert without["args"] == ["status", "--check", "--without", "profiler"]


def test_a_node_with_gpus_has_their_libraries_and_sees_who_holds_them() -> None:
    plain = named(render(), "DaemonSet")["spec"]["template"]["spec"]
    assert plain["containers"][0]["image"].startswith("fastgshare/node-manager:")
    assert not [volume for volume in plain["volumes"] if "hostPath" in volume]
    node = named(render(VARIANTS["all of it"]), "DaemonSet")["spec"]["template"]["spec"]
    assert node["containers"][0]["image"] == "registry.example.org/team/fastgshare/node-manager-cuda:1.2.3"
    assert [volume["hostPath"]["path"] for volume in node["volumes"] if "hostPath" in volume] == ["/run/lock"]
    own = render({"nodeManager": {"gpus": 1, "image": "mine", "lockDirectory": ""}})
    node = named(own, "DaemonSet")["spec"]["template"]["spec"]
    assert "/mine:" in node["containers"][0]["image"]
    assert not [volume for volume in node["volumes"] if "hostPath" in volume]


def test_a_node_asks_for_its_gpus() -> None:
    node = named(render(VARIANTS["all of it"]), "DaemonSet")["spec"]["template"]["spec"]
    assert node["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 2
    assert node["containers"][0]["resources"]["limits"]["memory"] == "8Gi"
    assert node["runtimeClassName"] == "nvidia"
    assert environment(node["containers"][0])["FASTGSHARE_DEVICE"] == "cuda"


def test_a_gateway_that_scales_itself_has_no_number_set() -> None:
    documents = render(VARIANTS["all of it"])
    assert "replicas" not in named(documents, "Deployment", "-gateway")["spec"]
    assert named(documents, "HorizontalPodAutoscaler")["spec"]["minReplicas"] == 2


def test_budgets_let_one_go_at_a_time() -> None:
    budgets = [document for document in render() if document["kind"] == "PodDisruptionBudget"]
    assert {budget["metadata"]["name"] for budget in budgets} == {
        f"demo-fastgshare-{component}" for component in ("gateway", "nats", "scheduler")
    }
    assert {budget["spec"]["maxUnavailable"] for budget in budgets} == {1}


def test_only_gateways_are_open_and_the_bus_is_for_this_release() -> None:
    documents = render()
    closed = named(documents, "NetworkPolicy", "-closed")["spec"]
    assert "ingress" not in closed
    bus = named(documents, "NetworkPolicy", "-nats")["spec"]["ingress"]
    assert all(rule["from"] for rule in bus)
    gateway = named(documents, "NetworkPolicy", "-gateway")["spec"]["ingress"]
    assert gateway == [{"ports": [{"port": "http"}, {"port": "grpc"}]}]


def test_every_page_of_metrics_is_scraped() -> None:
    documents = render(VARIANTS["all of it"])
    monitor = named(documents, "ServiceMonitor")["spec"]
    wanted = monitor["selector"]["matchLabels"]
    services = [
        one for one in documents if one["kind"] == "Service" and wanted.items() <= one["metadata"]["labels"].items()
    ]
    ports = {port["name"] for service in services for port in service["spec"]["ports"]}
    assert {endpoint["port"] for endpoint in monitor["endpoints"]} <= ports


def test_rules_and_alerts_know_services_by_their_job() -> None:
    documents = render(VARIANTS["all of it"])
    component = "__meta_kubernetes_pod_label_app_kubernetes_io_component"
    for endpoint in named(documents, "ServiceMonitor")["spec"]["endpoints"]:
        assert endpoint["relabelings"] == [
            {"sourceLabels": [component], "targetLabel": "job"},
            {"sourceLabels": [component], "regex": "node", "targetLabel": "job", "replacement": "node_manager"},
        ]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"nats": {"replicas": 2}}, "replicas"),
        ({"gatewey": {}}, "gatewey"),
        ({"gateway": {"env": {"PATH": "/"}}}, "PATH"),
        ({"nodeManager": {"device": "tpu"}}, "device"),
        ({"nats": {"enabled": False}}, "externalServers"),
        ({"nats": {"enabled": False, "externalServers": ["a:4222"]}}, "existingSecret"),
        ({"nats": {"enabled": False, "externalServers": ["a:4222"]}, "auth": {"existingSecret": "bus"}}, "copies"),
        ({"nats": {"replicas": 1, "copies": 3}}, "copies"),
        ({"telemetry": {"otlpEndpoint": "collector:4318"}}, "otlpEndpoint"),
    ],
)
def test_values_that_make_no_sense_are_refused_by_name(values: Document, told: str) -> None:
    with pytest.raises(ChartRefused, match=told):
        render(values)


def _selector(document: Document) -> dict[str, str]:
    spec: Any = document.get("spec", {})
    if document["kind"] == "NetworkPolicy":
        found = spec["podSelector"]["matchLabels"]
    elif document["kind"] in ("Service",):
        found = spec["selector"]
    elif document["kind"] in NOT_KUBERNETES_OWN:
        found = {}
    else:
        found = (spec.get("selector") or {}).get("matchLabels", {})
    return dict(found)


def _secrets(pod: Document) -> list[Document]:
    return [volume for volume in pod["volumes"] if "secret" in volume]


def _provision(documents: list[Document]) -> dict[str, str]:
    (container,) = named(documents, "Job")["spec"]["template"]["spec"]["containers"]
    return environment(container)
