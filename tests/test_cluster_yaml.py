"""cluster.yaml: valid by Ray's own schema, opens no port, asks for spot first, and installs nothing."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig
from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
from ray.autoscaler.v2.utils import ResourceRequestUtil

from faceverify import __version__

ROOT = Path(__file__).parent.parent


@pytest.fixture
def config() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "cluster.yaml").read_text())


@pytest.fixture
def amazon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """EC2 and IAM of moto, with a network and a security group as docs/cluster.md makes them."""
    from moto import mock_aws

    monkeypatch.setenv("HOME", str(tmp_path))  # a key pair is written there
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        yield boto3.resource("ec2", region_name="us-east-1")


def test_valid_by_rays_own_schema(config: dict[str, Any]) -> None:
    validate_config(prepare_config(config))
    for wrong in ({"head_node_typ": "head"}, {"max_workers": "many"}):
        with pytest.raises(Exception, match=r"head_node_typ|many"):
            validate_config(prepare_config({**config, **wrong}))


def test_nothing_is_open_to_the_world(config: dict[str, Any], amazon: Any) -> None:
    from ray.autoscaler._private.aws.config import bootstrap_aws

    network = amazon.create_vpc(CidrBlock="10.0.0.0/16")
    subnet = network.create_subnet(CidrBlock="10.0.0.0/20", AvailabilityZone="us-east-1a")
    group = amazon.create_security_group(GroupName="faceverify", Description="its own members", VpcId=network.id)
    within = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group.id}]}
    group.authorize_ingress(IpPermissions=[within])
    before = {one.id for one in amazon.security_groups.all()}
    named = json.loads(json.dumps(config).replace("SECURITY_GROUP", group.id).replace("SUBNET", subnet.id))

    made = bootstrap_aws(prepare_config(named))

    assert {one.id for one in amazon.security_groups.all()} == before, "Ray made a group of its own"
    group.reload()
    ranges = [rule["IpRanges"] + rule.get("Ipv6Ranges", []) for rule in group.ip_permissions]
    assert not any(ranges), ranges
    for name, node in made["available_node_types"].items():
        assert node["node_config"]["SecurityGroupIds"] == [group.id], name
        assert node["node_config"]["MetadataOptions"]["HttpTokens"] == "required", name
    assert made["provider"]["use_internal_ips"] and "start-session" in made["auth"]["ssh_proxy_command"]
    start = " ".join(made["head_start_ray_commands"])
    assert "--dashboard-host=127.0.0.1" in start and "0.0.0.0" not in yaml.safe_dump(made)


def test_access_is_by_role_and_the_package_comes_with_the_image(config: dict[str, Any]) -> None:
    text = (ROOT / "cluster.yaml").read_text()
    assert not any(word in text for word in ("AWS_ACCESS_KEY", "AWS_SECRET", "aws_access_key"))
    for name, node in config["available_node_types"].items():
        role = node["node_config"]["IamInstanceProfile"]["Name"]
        assert role == ("faceverify-head" if name == "head" else "faceverify-worker")
    assert config["docker"]["image"].endswith(f"/faceverify:{__version__}")
    commands = [*config["setup_commands"], *config["head_setup_commands"], *config["worker_setup_commands"]]
    assert not commands and not config["file_mounts"]


def launched(config: dict[str, Any], requests: list[dict[str, float]], **availability: float) -> dict[str, int]:
    """What Ray's autoscaler would start for these requests on an idle cluster, besides the head."""
    settings = AutoscalingConfig(config, skip_content_hash=True)
    reply = ResourceDemandScheduler(None).schedule(
        SchedulingRequest(
            disable_launch_config_check=True,
            node_type_configs=settings.get_node_type_configs(),
            max_num_nodes=settings.get_max_num_worker_nodes(),
            resource_requests=ResourceRequestUtil.group_by_count([ResourceRequestUtil.make(one) for one in requests]),
            recoverable_resource_availabilities=availability,
        )
    )
    return {one.instance_type: one.count for one in reply.to_launch if one.instance_type != "head"}


def test_spot_first_and_a_fallback(config: dict[str, Any]) -> None:
    gpus = [{"GPU": 1}] * 3
    assert launched(config, gpus) == {"gpu_spot": 3}
    assert launched(config, gpus, gpu_spot=0.0) == {"gpu_on_demand": 3}
    assert launched(config, [{"CPU": 1}] * 20) == {"cpu_spot": 2}
    assert launched(config, []) == {}
    assert sum(launched(config, [{"GPU": 1}] * 100).values()) == config["max_workers"]


def test_the_image_holds_the_package_and_no_secret() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    assert any(line.startswith("FROM rayproject/ray:2.60.0-") for line in lines), "another Ray"
    assert not any("AWS_" in line or "TOKEN" in line for line in lines)
    copied = [part for line in lines if line.startswith("COPY") for part in line.split()[2:-1]]
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert sorted(copied) == sorted(allowed)
    assert all(os.path.exists(ROOT / name) for name in copied)
