"""The KubeRay manifests: every field known, sizes that go together, a command that its job accepts, nothing exposed."""

import copy
import importlib
import json
import shlex
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from test_configs import config_class

from faceverify import __version__
from faceverify.config import load

HERE = Path(__file__).parent
FILES = sorted((HERE.parent / "configs" / "kuberay").glob("ray*.yaml"))
POLICY = HERE.parent / "configs" / "kuberay" / "networkpolicy.yaml"
SCHEMA = json.loads((HERE / "kuberay.schema.json").read_text())


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def manifest(request: pytest.FixtureRequest) -> dict[str, Any]:
    return yaml.safe_load(request.param.read_text())


def cluster_of(manifest: dict[str, Any]) -> dict[str, Any]:
    return manifest["spec"].get("rayClusterSpec", manifest["spec"])


def pods(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    cluster = cluster_of(manifest)
    return [group["template"]["spec"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]


def test_every_field_is_known(manifest: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(manifest)
    for path in (["spec"], ["metadata"]):
        wrong = copy.deepcopy(manifest)
        wrong[path[0]]["replicsa"] = 1
        assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(wrong)


def test_both_kinds_are_there() -> None:
    assert {yaml.safe_load(path.read_text())["kind"] for path in FILES} == {"RayCluster", "RayJob"}


def test_versions_are_those_of_the_package(manifest: dict[str, Any]) -> None:
    assert cluster_of(manifest)["rayVersion"] == version("ray")
    images = {container["image"] for pod in pods(manifest) for container in pod["containers"]}
    assert images == {f"REGISTRY/faceverify:{__version__}"}


def test_sizes_go_together(manifest: dict[str, Any]) -> None:
    cluster = cluster_of(manifest)
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    for group in cluster["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
        assert cluster.get("enableInTreeAutoscaling") or group["replicas"] > 0, "nobody would start it"
    for pod in pods(manifest):
        # Ray sizes a node by the limits, Kubernetes places it by the requests: one truth.
        assert all(one["resources"]["requests"] == one["resources"]["limits"] for one in pod["containers"])


def test_nothing_is_exposed_and_access_is_by_role(manifest: dict[str, Any]) -> None:
    head = cluster_of(manifest)["headGroupSpec"]
    assert head["serviceType"] == "ClusterIP" and not head.get("enableIngress")
    for pod in pods(manifest):
        assert pod["serviceAccountName"] == "faceverify" and pod["securityContext"]["runAsNonRoot"]
        for container in pod["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert not container.get("env"), "no keys in a manifest"


def test_only_who_belongs_reaches_the_pods_and_has_the_token(manifest: dict[str, Any]) -> None:
    assert cluster_of(manifest)["authOptions"] == {"mode": "token"}
    policy = yaml.safe_load(POLICY.read_text())["spec"]
    ours = policy["podSelector"]["matchLabels"]
    cluster = cluster_of(manifest)
    made = [group["template"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]
    made += [manifest["spec"]["submitterPodTemplate"]] if manifest["kind"] == "RayJob" else []
    assert all(ours.items() <= template["metadata"]["labels"].items() for template in made), "a pod without the policy"
    assert policy["policyTypes"] == ["Ingress"]
    own, operator = policy["ingress"]
    assert own == {"from": [{"podSelector": {"matchLabels": ours}}]}, "of this namespace alone"
    assert operator["ports"] == [{"protocol": "TCP", "port": 8265}]
    [source] = operator["from"]
    assert source["podSelector"]["matchExpressions"], "a namespace selector alone would let everybody in"


def test_the_job_accepts_its_command() -> None:
    [job] = [made for made in (yaml.safe_load(path.read_text()) for path in FILES) if made["kind"] == "RayJob"]
    words = shlex.split(job["spec"]["entrypoint"])
    assert words[:2] == ["python", "-m"]
    name = words[2].removeprefix("ray_jobs.")
    importlib.import_module(words[2])
    config = load(config_class(name), words[3:], prog="", description="")
    workers = job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert config.gpus == sum(group["replicas"] for group in workers), "it would wait for more than there will be"
