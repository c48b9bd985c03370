"""The Helm chart, rendered by Helm itself: what it makes fits the schemas, the gateway, and the rules for pods."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import typer

from aimds.cli import build
from aimds.gateway import settings
from aimds.gateway.identity import ROUTES
from aimds.metrics import Metrics
from aimds.respond.policy import Policy

yaml = pytest.importorskip("yaml", reason="needs kubernetes-validate")
validate = pytest.importorskip("kubernetes_validate")
if find_spec("helm_python") is None:
    pytest.skip("no Helm: pip install --no-deps -r tests/deploy/helm.txt", allow_module_level=True)

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy/helm/aimds"
CASES = sorted(path.stem for path in (CHART / "ci").glob("*.yaml"))
VERSION = "1.33"
FOREIGN = {"RayCluster", "RayJob", "PodMonitor"}
"""Kinds that Kubernetes itself has no schema of."""
PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a pod that asks nobody who they are": ({"settings": {"insecure": True}}, "insecure"),
    "settings that the chart makes": ({"settings": {"listen": {"host": "0.0.0.0"}}}, "listen"),
    "a TLS section of one's own": ({"settings": {"tls": {}}}, "tls"),
    "no certificate": ({"secrets": {"tls": ""}}, "/secrets/tls"),
    "a key in the values": ({"secrets": {"keys": "aimds_0123.Secret"}}, "/secrets/keys"),
    "nobody who could sign in": ({"secrets": {"keys": ""}}, "nobody could sign in"),
    "an image that moves": ({"image": {"tag": "latest"}}, "/image/tag"),
    "a user of one's own": ({"securityContext": {"runAsUser": 0}}, "securityContext"),
    "a value that is misspelt": ({"replica": 3}, "replica"),
    "no limit of memory": ({"resources": {"limits": {"memory": None}}}, "memory"),
    "admin routes for all": ({"auth": {"adminAllow": ["0.0.0.0/0"]}}, "/auth/adminAllow"),
    "keys over plain http": ({"auth": {"jwt": {"address": "http://issuer.example/jwks"}}}, "/auth/jwt/address"),
    "tokens for a year": ({"auth": {"jwt": {"maxAgeSeconds": 31536000}}}, "/auth/jwt/maxAgeSeconds"),
    "an audit log in the root": ({"settings": {"audit": {"path": "audit.log"}}}, "/settings/audit/path"),
    "an audit log that would be lost": ({"settings": {"audit": {"path": "/data/a"}}}, "persistence.enabled"),
    "a review queue in the root": ({"settings": {"review": {"path": "review.db"}}}, "/settings/review/path"),
    "a review queue that would be lost": ({"settings": {"review": {"path": "/data/r"}}}, "persistence.enabled"),
    "a review queue that is nowhere": ({"settings": {"review": {"keep_days": 3}}}, "secrets.reviewQueue"),
    "a database in the values": ({"settings": {"review": {"url": "postgresql://a:b@db/x"}}}, "/settings/review"),
    "a database that no rule opens": ({"secrets": {"reviewQueue": "q"}}, "networkPolicy.egress"),
    "two review queues": (
        {
            "settings": {"review": {"path": "/data/r"}},
            "secrets": {"reviewQueue": "q"},
            "persistence": {"enabled": True},
            "networkPolicy": {"egress": [{"to": [{"podSelector": {}}], "ports": [{"port": 5432}]}]},
        },
        "one of the two",
    ),
    "tokens without keys": ({"auth": {"jwt": {"issuer": "i", "audience": "a"}}}, "secrets.jwks"),
    "an address that no rule opens": (
        {"auth": {"jwt": {"issuer": "i", "audience": "a", "address": "https://issuer.example/jwks"}}},
        "networkPolicy.egress",
    ),
    "certificates of no CA": ({"auth": {"certificates": {"required": True}}}, "secrets.clientCa"),
    "GPUs without work": ({"gpu": {"enabled": True, "count": 4}}, "workers"),
    "an egress rule for everything": ({"networkPolicy": {"egress": [{}]}}, "/networkPolicy/egress"),
    "an autoscaler that cannot ask": ({"mode": "ray", "ray": {"autoscaling": True}}, "apiServer"),
    "a scan through a shell": ({"scan": {"enabled": True, "inputs": ["/data; rm -r /"]}}, "shell"),
    "files beside a Ray head": ({"mode": "ray", "persistence": {"enabled": True}}, "mode plain"),
    "bounds the wrong way round": ({"autoscaling": {"min": 9, "max": 3}}, "min is above max"),
}


@cache
def results() -> dict[str, dict[str, Any]]:
    """What became of each case, of each values that are refused, and what lint says."""
    told = [yaml.safe_load((CHART / f"ci/{case}.yaml").read_text("utf-8")) for case in CASES]
    told += [values for values, _ in REFUSED.values()]
    command = [sys.executable, str(Path(__file__).with_name("rendering.py")), str(CHART)]
    done = subprocess.run(command, input=json.dumps(told), capture_output=True, text=True, check=True)
    return dict(zip([*CASES, *REFUSED, "lint"], json.loads(done.stdout), strict=True))


@cache
def documents(case: str) -> list[dict[str, Any]]:
    found = results()[case]
    assert "error" not in found, found
    texts = [text for name, text in found["files"].items() if name.endswith(".yaml")]
    return [one for text in texts for one in yaml.load_all(text, yaml.CSafeLoader) if one is not None]


def of_kind(case: str, *kinds: str) -> list[dict[str, Any]]:
    return [one for one in documents(case) if one["kind"] in kinds]


def templates(value: Any) -> Iterator[dict[str, Any]]:
    """Pod templates anywhere in ``value``."""
    if isinstance(value, dict):
        if isinstance(value.get("template"), dict) and "spec" in value["template"]:
            yield value["template"]
        for inner in value.values():
            yield from templates(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from templates(inner)


def pods(case: str) -> list[dict[str, Any]]:
    return [template for one in documents(case) for template in templates(one)]


def containers(case: str, name: str) -> list[dict[str, Any]]:
    return [one for pod in pods(case) for one in pod["spec"]["containers"] if one["name"] == name]


def as_deployment(template: dict[str, Any]) -> dict[str, Any]:
    spec = {"selector": {"matchLabels": template["metadata"]["labels"]}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}, "spec": spec}


@cache
def commands() -> Any:
    """The command line of aimds."""
    return typer.main.get_command(build())


def options(words: list[str]) -> dict[str, Any]:
    """What aimds' own command line makes of ``words``; nothing is run."""
    program, command, *rest = words
    assert program == "aimds"
    found: dict[str, Any] = commands().commands[command].make_context(command, rest).params
    return found


def test_helm_itself_finds_no_fault_in_the_chart() -> None:
    lint = results()["lint"]
    assert lint["errors"] == []
    assert [one["error"] for one in lint["messages"] if one["severity"] > 1] == []


@pytest.mark.parametrize("why", REFUSED)
def test_values_that_would_be_unsafe_or_useless_are_refused_by_name(why: str) -> None:
    found = results()[why]
    assert "error" in found, why
    assert REFUSED[why][1] in found["error"]


@pytest.mark.parametrize("case", CASES)
def test_what_is_made_fits_the_schemas_of_kubernetes(case: str) -> None:
    for one in documents(case):
        if one["kind"] not in FOREIGN:
            validate.validate(one, VERSION, strict=True)
        assert one["metadata"]["labels"]["app.kubernetes.io/instance"] == "aimds"
    names = [(one["kind"], one["metadata"]["name"]) for one in documents(case)]
    assert len(names) == len(set(names)) > 0
    with pytest.raises(validate.ValidationError):
        validate.validate({**of_kind(case, "NetworkPolicy")[0], "spek": {}}, VERSION, strict=True)


@pytest.mark.parametrize("case", CASES)
def test_a_pod_is_nobody_special_on_a_root_that_it_cannot_write(case: str) -> None:
    assert len(pods(case)) > 0
    for pod in pods(case):
        validate.validate(as_deployment(pod), VERSION, strict=True)
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] == 10001
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        # Ray's autoscaler, which is on in one case, asks the API server; nothing else does.
        assert spec["automountServiceAccountToken"] is (case == "ray" and is_head(case, pod))
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        volumes = {volume["name"] for volume in spec["volumes"]}
        assert not any("hostPath" in volume for volume in spec["volumes"])
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "runAsNonRoot": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {"cpu", "memory"} <= set(container["resources"]["requests"])
            assert "memory" in container["resources"]["limits"]
            claimed = {"data"} if case == "gpu" else set()
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes | claimed


def is_head(case: str, pod: dict[str, Any]) -> bool:
    heads = [one["spec"]["headGroupSpec"]["template"] for one in of_kind(case, "RayCluster")]
    heads += [one["spec"]["rayClusterSpec"]["headGroupSpec"]["template"] for one in of_kind(case, "RayJob")]
    return pod in heads


@pytest.mark.parametrize("case", CASES)
def test_secrets_are_files_and_nothing_of_them_is_in_the_environment(case: str) -> None:
    for pod in pods(case):
        for container in pod["spec"]["containers"]:
            assert "envFrom" not in container
            assert all(set(entry) == {"name", "value"} for entry in container.get("env", ()))
            mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
            for volume in pod["spec"]["volumes"]:
                if "secret" in volume and volume["name"] in mounts:
                    assert mounts[volume["name"]]["readOnly"] is True
                    assert "subPath" not in mounts[volume["name"]]
                    assert volume["secret"]["defaultMode"] & 0o007 == 0
    assert of_kind(case, "Secret") == []


@pytest.mark.parametrize("case", CASES)
def test_selectors_find_the_gateway_and_ports_are_those_it_listens_on(case: str, tmp_path: Path) -> None:
    gateways = [pod for pod in pods(case) if any(one["name"] == "gateway" for one in pod["spec"]["containers"])]
    assert len(gateways) == (0 if case == "scan" else 1)
    others = [pod["metadata"]["labels"] for pod in pods(case) if pod not in gateways]
    wanted = [one["spec"]["selector"] for one in of_kind(case, "Service")]
    matching = of_kind(case, "Deployment", "StatefulSet", "PodDisruptionBudget", "PodMonitor")
    wanted += [one["spec"]["selector"]["matchLabels"] for one in matching]
    assert len(wanted) >= 2 * len(gateways)
    for selector in wanted:
        assert selector.items() <= gateways[0]["metadata"]["labels"].items()
        assert not any(selector.items() <= labels.items() for labels in others)
    for gateway in containers(case, "gateway"):
        port = gateway_settings(case, tmp_path).port
        found = {(one["name"], one["containerPort"], one["protocol"]) for one in gateway["ports"]}
        assert found == {("quic", port, "UDP"), ("https", port, "TCP")}
        targets = {
            (entry["targetPort"], entry["protocol"])
            for one in of_kind(case, "Service")
            for entry in one["spec"]["ports"]
        }
        assert targets == {("quic", "UDP"), ("https", "TCP")}


@pytest.mark.parametrize("case", CASES)
def test_probes_ask_routes_that_are_open_to_all(case: str) -> None:
    free = {route.path for route in ROUTES if route.method == "GET" and route.role is None}
    for gateway in containers(case, "gateway"):
        for probe in PROBES:
            if case == "ray":  # clients must show a certificate there, which a probe has none of
                assert gateway[probe]["tcpSocket"] == {"port": "https"}
                continue
            asked = gateway[probe]["httpGet"]
            assert (asked["port"], asked["scheme"]) == ("https", "HTTPS")
            assert asked["path"] in free
    for one in of_kind(case, "PodMonitor"):
        [end] = one["spec"]["podMetricsEndpoints"]
        assert end["path"] in {route.path for route in ROUTES}
        assert end["port"] in {port["name"] for port in containers(case, "gateway")[0]["ports"]}


def gateway_settings(case: str, folder: Path) -> settings.Settings:
    """What the gateway reads out of the ConfigMap that it is pointed at."""
    [gateway] = containers(case, "gateway")
    given = options([*gateway["command"], *gateway["args"]])
    [pod] = [pod for pod in pods(case) if gateway in pod["spec"]["containers"]]
    mount = max(
        (one for one in gateway["volumeMounts"] if str(given["config"]).startswith(one["mountPath"])),
        key=lambda one: len(one["mountPath"]),
    )
    [volume] = [one for one in pod["spec"]["volumes"] if one["name"] == mount["name"]]
    [found] = [one for one in of_kind(case, "ConfigMap") if one["metadata"]["name"] == volume["configMap"]["name"]]
    for name, text in found["data"].items():
        (folder / name).write_text(text, "utf-8")
    return settings.load(folder / given["config"].name).check()


@pytest.mark.parametrize("case", [case for case in CASES if case != "scan"])
def test_the_settings_are_ones_that_the_gateway_takes_and_their_files_are_mounted(case: str, tmp_path: Path) -> None:
    found = gateway_settings(case, tmp_path)
    [gateway] = containers(case, "gateway")
    folders = [one["mountPath"] for one in gateway["volumeMounts"]]
    named = [found.certificate, found.key, found.keys, found.screening.policy]
    named += [found.audit and found.audit.path, found.audit and found.audit.key]
    named += [found.certificates and found.certificates.client_ca, found.jwt and Path(found.jwt.jwks)]
    for path in [one for one in named if one is not None]:
        assert str(path.parent) in folders, path
    assert found.has_identity
    assert not found.insecure
    [pod] = [pod for pod in pods(case) if gateway in pod["spec"]["containers"]]
    wait = gateway["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["spec"]["terminationGracePeriodSeconds"] > found.drain_s + wait
    assert (found.ray is not None) == (case == "ray")
    if case == "gpu":
        assert gateway["resources"]["limits"]["nvidia.com/gpu"] == "1"
        assert found.screening.backend == "cuda"
        assert found.jwt is not None
        assert found.jwt.config.max_age_s == 3600
        assert found.datagram_bytes == 8900
    if case == "database":
        assert found.review == settings.Review("postgresql://?service=aimds", 30.0)
        places = {entry["name"]: entry["value"] for entry in gateway["env"]}
        assert str(Path(places["PGSERVICEFILE"]).parent) in folders
        assert places["PGSSLMODE"] == "verify-full"
    if case == "small":
        assert found.screening.workers == 0
        assert Policy.load(tmp_path / "policy.toml").version


@pytest.mark.parametrize("case", CASES)
def test_command_lines_are_ones_that_aimds_takes(case: str) -> None:
    seen = 0
    for gateway in containers(case, "gateway"):
        given = options([*gateway["command"], *gateway["args"]])
        assert given["on_ray"] is (case == "ray")
        assert given["insecure_local"] is False
        seen += 1
    for job in of_kind(case, "RayJob"):
        given = options(shlex.split(job["spec"]["entrypoint"]))
        assert given["on_ray"] is True
        assert str(given["output"]).startswith("/data/")
        assert all(word.startswith("/data/") for word in given["inputs"])
        seen += 1
    assert seen >= 1


def test_a_command_line_that_aimds_does_not_take_would_be_found() -> None:
    with pytest.raises(Exception, match="No such option"):
        options(["aimds", "serve", "--no-such-option"])


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_reached_from_the_pods_and_only_the_gateway_s_port_from_outside(case: str) -> None:
    policies = [one["spec"] for one in of_kind(case, "NetworkPolicy")]
    closed = [one for one in policies if "ingress" not in one and "egress" not in one]
    assert [one["policyTypes"] for one in closed] == [["Ingress", "Egress"]]
    for pod in pods(case):
        assert closed[0]["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    for policy in policies:
        for rule in policy.get("ingress", ()):
            ports = {(port["port"], port["protocol"]) for port in rule.get("ports", ())}
            inside = [one for one in rule.get("from", ()) if "aimds-release" in str(one)]
            assert ports in ({(8443, "UDP"), (8443, "TCP")}, {(8265, "TCP")}) or inside == rule["from"]
        for rule in policy.get("egress", ()):
            assert all("ipBlock" not in to or to["ipBlock"]["cidr"].endswith("/32") for to in rule["to"])


def test_the_autoscaler_names_a_metric_that_exists_and_a_pod_that_has_it() -> None:
    families = {family.name for family in Metrics().registry.collect()}
    [scaler] = of_kind("gpu", "HorizontalPodAutoscaler")
    asked = [one["pods"]["metric"]["name"] for one in scaler["spec"]["metrics"] if one["type"] == "Pods"]
    assert asked == ["aimds_queue_rows"]
    assert set(asked) <= families
    for case in ("default", "gpu"):
        [scaler] = of_kind(case, "HorizontalPodAutoscaler")
        [target] = of_kind(case, "Deployment", "StatefulSet")
        found = scaler["spec"]["scaleTargetRef"]
        assert (found["kind"], found["name"]) == (target["kind"], target["metadata"]["name"])
        assert "replicas" not in target["spec"]
        names = {one["name"] for one in target["spec"]["template"]["spec"]["containers"]}
        assert scaler["spec"]["metrics"][0]["containerResource"]["container"] in names


CLUSTER = {"rayVersion", "enableInTreeAutoscaling", "autoscalerOptions", "headGroupSpec", "workerGroupSpecs"}
HEAD = {"rayStartParams", "template"}
GROUP = HEAD | {"groupName", "replicas", "minReplicas", "maxReplicas"}
JOB = {"entrypoint", "submissionMode", "backoffLimit", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished"}
JOB |= {"rayClusterSpec"}


def test_kuberay_gets_fields_that_it_has() -> None:
    clusters = [one["spec"] for one in of_kind("ray", "RayCluster")]
    for job in [*of_kind("ray", "RayJob"), *of_kind("scan", "RayJob")]:
        assert set(job["spec"]) <= JOB
        clusters.append(job["spec"]["rayClusterSpec"])
    assert len(clusters) == 3
    for spec in clusters:
        assert set(spec) <= CLUSTER
        assert set(spec["headGroupSpec"]) <= HEAD
        parameters = [spec["headGroupSpec"]["rayStartParams"]]
        for group in spec["workerGroupSpecs"]:
            assert set(group) <= GROUP
            assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
            parameters.append(group["rayStartParams"])
            [ray] = group["template"]["spec"]["containers"]
            assert ray["livenessProbe"]["tcpSocket"]["port"] == int(group["rayStartParams"]["node-manager-port"])
        assert all(isinstance(value, str) for one in parameters for value in one.values())
        assert [group["groupName"] for group in spec["workerGroupSpecs"]] == ["cpu", "gpu"]
        assert "nvidia.com/gpu" in str(spec["workerGroupSpecs"][1])


def test_a_changed_policy_does_not_begin_new_pods_and_a_changed_setting_does() -> None:
    [small], [usual] = (of_kind(case, "Deployment") for case in ("small", "default"))
    marks = [one["spec"]["template"]["metadata"]["annotations"]["aimds/settings"] for one in (small, usual)]
    assert marks[0] != marks[1]
    assert usual["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


def test_the_chart_is_of_the_version_of_the_package() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    assert chart["appVersion"] == version
    assert containers("default", "gateway")[0]["image"] == f"aimds:{version}"
    assert containers("gpu", "gateway")[0]["image"] == f"aimds:{version}-gpu"
    assert "@sha256:" in containers("small", "gateway")[0]["image"]


def test_notes_name_what_was_made() -> None:
    for case in CASES:
        notes = results()[case]["files"]["aimds/templates/NOTES.txt"]
        made = {one["metadata"]["name"] for one in documents(case)}
        for word in notes.replace("service/", "rayjob ").split("rayjob ")[1:]:
            assert word.split()[0] in made
