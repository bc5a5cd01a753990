"""What watches the fleet: rules fire when they should, and panels ask for what there is."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from broker.connection import connect
from broker.heartbeats import beat as send_beat
from broker.loads import OriginLoad, Stage, Stages
from contract.settings import Settings
from pifleet.metrics.collector import FleetCollector
from tests.infra.test_infra import INFRA
from tests.pifleet.test_exporter import make_job, samples
from tests.producer.test_tables import beat

MONITORING = INFRA / "monitoring"
RULES = yaml.safe_load((MONITORING / "rules.yml").read_text())["groups"][0]["rules"]
METRIC = re.compile(r"\bpifleet_[a-z_]+")
NEEDS_TLS = {"pifleet_broker_certificate_end_timestamp_seconds"}
NEEDS_PACE = {"pifleet_job_to_go_seconds"}  # of a job that gets on


def panel_queries() -> Iterator[tuple[str, str]]:
    """Yield each panel's title and query."""
    for path in sorted((MONITORING / "dashboards").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                yield panel["title"], target["expr"]


@pytest.mark.parametrize(
    "arguments",
    [("check", "config", "prometheus.yml"), ("test", "rules", "rules_test.yml")],
    ids=["config and rules", "each alert's series"],
)
def test_promtool_has_nothing_to_say(arguments: tuple[str, ...]) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: it comes with Prometheus")
    done = subprocess.run(
        [promtool, *arguments], cwd=MONITORING, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_is_tried_and_says_what_to_do() -> None:
    tests = yaml.safe_load((MONITORING / "rules_test.yml").read_text())["tests"]
    tried = {
        one["alertname"]
        for test in tests
        for one in test["alert_rule_test"]
        if one["exp_alerts"]  # it fires
    }
    assert tried == {rule["alert"] for rule in RULES}
    assert all(rule["annotations"]["action"] for rule in RULES)


@pytest.mark.redis
def test_every_metric_that_a_rule_or_a_panel_asks_for_is_served(
    redis_url: str, tmp_path: Path
) -> None:
    make_job(tmp_path)
    with connect(redis_url) as client:
        collector = FleetCollector(
            client, Settings(redis_url=redis_url, state_dir=tmp_path / "state")
        )
        for images in (100, 200):  # a counter begins with the second look
            stage = Stage(1.0, (images,))
            worker = beat(
                1,
                started_at=1e9,
                images=images,
                failed=images // 10,
                reasons={"timeout": images // 10},
                models=("c" * 64,),
                origins=(OriginLoad("http://a:80"),),
                stages=Stages(stage, stage, stage),
            )
            send_beat(client, worker)
            served = {name for name, _ in samples(collector)}
    asked = {name for _, query in panel_queries() for name in METRIC.findall(query)}
    asked |= {name for rule in RULES for name in METRIC.findall(rule["expr"])}
    assert asked - served - NEEDS_TLS - NEEDS_PACE == set()


def test_panels_have_a_place_of_their_own() -> None:
    for path in (MONITORING / "dashboards").glob("*.json"):
        board = json.loads(path.read_text())
        cells = [
            (x, y)
            for place in (panel["gridPos"] for panel in board["panels"])
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        ]
        assert len(cells) == len(set(cells)), path.name
        assert max(x for x, _ in cells) < 24
