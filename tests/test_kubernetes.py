"""The manifests fit the schemas of Kubernetes, and no pod may do more than it has to."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aimds.gateway import settings

yaml = pytest.importorskip("yaml", reason="needs kubernetes-validate")
validate = pytest.importorskip("kubernetes_validate")
ROOT = Path(__file__).parent.parent / "deploy" / "kubernetes"
VERSION = "1.33"
OURS = {"Kustomization", "RayCluster", "RayJob"}
"""Kinds that Kubernetes itself has no schema of; the pods in them are looked at all the same."""


def documents() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(ROOT.rglob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text("utf-8")):
            yield f"{path.relative_to(ROOT)}:{document['kind']}", document


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


ALL = dict(documents())
PODS = [
    (name, template)
    for name, document in ALL.items()
    if not name.startswith("gpu/")
    for template in templates(document)
]


def as_deployment(template: dict[str, Any]) -> dict[str, Any]:
    labels = template["metadata"]["labels"]
    spec = {"selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}, "spec": spec}


@pytest.mark.parametrize("name", [name for name, document in ALL.items() if document["kind"] not in OURS])
def test_a_manifest_fits_the_schema(name: str) -> None:
    if name.startswith("gpu/"):
        # A patch: it is whole with what it is laid over.
        base = ALL["base/gateway.yaml:Deployment"]
        container = base["spec"]["template"]["spec"]["containers"][0]
        [patch] = ALL[name]["spec"]["template"]["spec"]["containers"]
        assert patch["name"] == container["name"]
        limits = {**container["resources"]["limits"], **patch["resources"]["limits"]}
        merged = {**container, "resources": {**container["resources"], "limits": limits}}
        pod = {**base["spec"]["template"]["spec"], "containers": [merged]}
        validate.validate(as_deployment({**base["spec"]["template"], "spec": pod}), VERSION, strict=True)
        assert limits["nvidia.com/gpu"] == "1"
        return
    validate.validate(ALL[name], VERSION, strict=True)


def test_a_manifest_with_a_wrong_key_would_be_found() -> None:
    broken = {**ALL["base/scaling.yaml:PodDisruptionBudget"], "spec": {"maxUnavailble": 1}}
    with pytest.raises(validate.ValidationError):
        validate.validate(broken, VERSION, strict=True)


@pytest.mark.parametrize(("name", "template"), PODS)
def test_a_pod_of_any_kind_fits_the_schema_and_is_locked_down(name: str, template: dict[str, Any]) -> None:
    validate.validate(as_deployment(template), VERSION, strict=True)
    spec = template["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    for container in spec["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"requests", "limits"} <= set(container["resources"])
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted <= {volume["name"] for volume in spec["volumes"]}
        assert "tmp" in mounted
        if container["name"] == "gateway":
            assert all(container[probe]["httpGet"]["scheme"] == "HTTPS" for probe in PROBES)
            assert {(port["containerPort"], port["protocol"]) for port in container["ports"]} == {
                (8443, "UDP"),
                (8443, "TCP"),
            }
        else:
            assert {"name": "RAY_USAGE_STATS_ENABLED", "value": "0"} in container["env"]


PROBES = ("startupProbe", "livenessProbe", "readinessProbe")


def test_nothing_reaches_the_world_outside() -> None:
    alone = ALL["base/network.yaml:NetworkPolicy"]["spec"]
    assert (alone["policyTypes"], alone["egress"]) == (["Ingress", "Egress"], [])
    ray = ALL["ray/network.yaml:NetworkPolicy"]["spec"]
    assert all(set(to) <= {"podSelector", "namespaceSelector"} for rule in ray["egress"] for to in rule["to"])
    pods = ray["podSelector"]["matchLabels"].items()
    for name, template in PODS:
        if name.startswith("ray/"):
            assert pods <= template["metadata"]["labels"].items()


def test_the_settings_in_the_manifests_are_ones_that_the_gateway_takes(tmp_path: Path) -> None:
    for name in ("base/config.yaml:ConfigMap", "ray/config.yaml:ConfigMap"):
        path = tmp_path / "serve.toml"
        path.write_text(ALL[name]["data"]["serve.toml"], "utf-8")
        found = settings.load(path).check()
        assert found.port == 8443
        assert (found.ray is not None) == name.startswith("ray/")
        assert "listen" in tomllib.loads(path.read_text("utf-8"))


def test_the_kustomizations_name_files_that_are_there() -> None:
    for path in ROOT.rglob("kustomization.yaml"):
        content = yaml.safe_load(path.read_text("utf-8"))
        named = [*content["resources"], *(patch["path"] for patch in content.get("patches", ()))]
        assert [one for one in named if not (path.parent / one).exists()] == []
