"""Do the panels show something? A real Prometheus scrapes a real job, and each query is asked.

Two workers read drawn images from an origin that fails some of its answers; the exporter and
Prometheus, with the shipped rules, run beside them. It needs `prometheus` on the PATH (Debian's
package will do). With --keep everything stays up, to be looked at.

Example:
    python -m benchmarks.monitoring --seconds 60
"""

from __future__ import annotations

import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

import click
import yaml
from rich.console import Console
from rich.table import Table

from benchmarks.machine import fleet_env
from pifleet.local.children import end_child, start_child
from pifleet.local.demo import draw_all, make_up
from pifleet.local.origin import OriginOptions, index_item, running_origin
from pifleet.local.redis_server import embedded_redis, free_port
from pifleet.local.supervisor import FleetOptions, local_fleet

MONITORING = Path(__file__).parents[1] / "infra" / "monitoring"
IMAGES = 3000
FAULTS = 0.05
MISSING = 50  # one image in so many is not there
SCRAPE_S = 1
MAY_BE_EMPTY = ("pifleet_worker_temperature_celsius",)  # a machine without a thermal file


def panel_queries() -> Iterator[tuple[str, str]]:
    """Yield each panel's title and query."""
    for path in sorted((MONITORING / "dashboards").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                yield panel["title"], target["expr"]


def prometheus_config(folder: Path, exporter_port: int) -> Path:
    """Write the shipped configuration for this run: another port, and a scrape a second."""
    config = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": f"{SCRAPE_S}s", "evaluation_interval": f"{SCRAPE_S}s"}
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{exporter_port}"]
    shutil.copy(MONITORING / "rules.yml", folder)
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    return path


def count_series(prometheus: str, query: str) -> int:
    """Ask Prometheus, and count the series that it answers with."""
    with urlopen(f"{prometheus}/api/v1/query?{urlencode({'query': query})}", timeout=10) as answer:
        return len(json.load(answer)["data"]["result"])


def write_list(path: Path, drawn: Path, item: str) -> None:
    """List the images for a job, and some that are not there."""
    names = sorted(image.name for image in drawn.iterdir())
    asked = [f"no-{name}" if n % MISSING == 0 else name for n, name in enumerate(names)]
    path.write_text("\n".join(["url,name", *(f"{item.format(name=n)},{n}" for n in asked), ""]))


def start_all(stack: ExitStack, folder: Path, *, images: int, rate: float) -> dict[str, str]:
    """Start broker, origin, workers, exporter, Prometheus and a job; gives their addresses."""

    def run(name: str, *command: str) -> None:
        child = start_child(command, env=env, log=folder / f"{name}.log")
        stack.callback(end_child, child, grace_s=10)

    redis_url = stack.enter_context(embedded_redis())
    env = fleet_env(folder, redis_url)
    drawn = folder / "images"
    drawn.mkdir()
    for _ in draw_all(make_up(images, random.Random(1)), drawn):
        pass
    index = stack.enter_context(running_origin(drawn, OriginOptions(faults=FAULTS)))
    stack.enter_context(
        local_fleet(FleetOptions(2, redis_url, env, folder, folder / "cache", concurrency=2))
    ).wait_ready()
    pifleet = (sys.executable, "-m", "pifleet")
    ports = [str(free_port()) for _ in range(3)]
    run("exporter", *pifleet, "exporter", "--port", ports[0])
    run("flower", *pifleet, "dashboard", "--port", ports[2], "--basic-auth", "me:secret")
    config = prometheus_config(folder, int(ports[0]))
    options = (
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{ports[1]}",
    )
    run("prometheus", "prometheus", f"--config.file={config}", *options)
    write_list(folder / "list.csv", drawn, index_item(index))
    job = (str(folder / "list.csv"), "-o", str(folder / "out.csv"), "--rate", str(rate))
    run("submit", *pifleet, "submit", *job, "--chunk", "16", "--attempts", "1")
    names = ("exporter", "prometheus", "flower")
    found = {name: f"http://127.0.0.1:{port}" for name, port in zip(names, ports, strict=True)}
    return {**found, "redis": redis_url}


@click.command()
@click.option("--seconds", type=click.IntRange(10), default=60, show_default=True)
@click.option("--keep", is_flag=True, help="Leave everything up until Ctrl-C.")
def main(seconds: int, keep: bool) -> None:
    """Ask a real Prometheus every query of every panel, while a real job runs."""
    if shutil.which("prometheus") is None:
        raise click.UsageError("prometheus is not installed: apt-get install prometheus")
    console = Console()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pifleet-watch-")))
        places = start_all(stack, folder, images=IMAGES, rate=IMAGES / (2 * seconds))
        for name, place in places.items():
            console.print(f"{name:12} {place}", highlight=False)
        time.sleep(seconds)
        table = Table("panel", "query", "series")
        empty = []
        for title, query in panel_queries():
            number = count_series(places["prometheus"], query)
            table.add_row(title, query, str(number))
            if not number and query not in MAY_BE_EMPTY:
                empty.append(title)
        console.print(table)
        if keep:
            time.sleep(3600)
    if empty:
        raise click.ClickException(f"no data: {', '.join(empty)}")


if __name__ == "__main__":
    main()
