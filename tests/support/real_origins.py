"""The origins that people have, each started for real on loopback before a folder of images.

Images are asked for as ``BASE/17.png``. ``ORIGINS`` names them all; a test or a benchmark starts
one with ``with ORIGINS[name](folder, scratch) as base``.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from contract.errors import ServiceError
from pifleet.local.children import end_child, last_line, start_child
from pifleet.local.origin import running_program

ODD = "tests.support.odd_server"
START_S = 20.0

NGINX = """
{user}
daemon off;
worker_processes 1;
pid {scratch}/nginx.pid;
error_log stderr error;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {scratch}/body; proxy_temp_path {scratch}/proxy;
  fastcgi_temp_path {scratch}/fastcgi; uwsgi_temp_path {scratch}/uwsgi;
  scgi_temp_path {scratch}/scgi;
  keepalive_requests 100000;
  {zone}
  server {{ listen 127.0.0.1:{port}; location / {{ root {folder}; {rule} }} }}
}}
"""

Starter = Callable[[Path, Path], AbstractContextManager[str]]


@contextmanager
def listening(command: Sequence[str], port: int, log: Path) -> Iterator[str]:
    """Run a server until the block ends, and wait until its port answers; gives its address.

    Raises:
        ServiceError: it does not start.
    """
    child = start_child(command, log=log)
    try:
        deadline = time.monotonic() + START_S
        while not _answers(port):
            if child.poll() is not None or time.monotonic() > deadline:
                raise ServiceError(f"{command[0]} did not start: {last_line(log)}")
            time.sleep(0.02)  # polling with a deadline
        yield f"http://127.0.0.1:{port}"
    finally:
        end_child(child, grace_s=5.0)


@contextmanager
def http_server(folder: Path, scratch: Path) -> Iterator[str]:
    """Run ``python -m http.server``: HTTP/1.0, a thread a request, a backlog of five."""
    port = free_port()
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    command += ["--directory", str(folder)]
    with listening(command, port, scratch / "http.server.log") as base:
        yield base


@contextmanager
def nginx(folder: Path, scratch: Path, *, zone: str = "", rule: str = "") -> Iterator[str]:
    """Run nginx with one worker.

    Args:
        folder: that it serves.
        scratch: where it may write.
        zone: a directive of its ``http`` block.
        rule: one of its ``location``.
    """
    port = free_port()
    config = scratch / f"nginx-{port}.conf"
    user = "user root;" if os.geteuid() == 0 else ""  # nobody may not read a scratch folder
    values = {"user": user, "scratch": scratch, "port": port, "folder": folder.absolute()}
    config.write_text(NGINX.format(**values, zone=zone, rule=rule))
    binary = shutil.which("nginx") or "nginx"
    command = [binary, "-p", str(scratch), "-c", str(config), "-e", "stderr"]
    with listening(command, port, scratch / "nginx.log") as base:
        yield base


@contextmanager
def odd(folder: Path, scratch: Path, *, habits: Sequence[str] = ()) -> Iterator[str]:
    """Run the small server with some habits; see ``tests.support.odd_server``."""
    with running_program(ODD, str(folder), *habits) as base:
        yield base


@contextmanager
def https(folder: Path, scratch: Path) -> Iterator[str]:
    """Run the small server under a certificate that only ``SSL_CERT_FILE`` can make trusted."""
    certificate = write_certificate(scratch / "origin.pem")
    with odd(folder, scratch, habits=["--certificate", str(certificate)]) as base:
        yield base


@contextmanager
def flask(folder: Path, scratch: Path) -> Iterator[str]:
    """Run Flask's development server."""
    with running_program("tests.support.flask_server", str(folder)) as base:
        yield base


def write_certificate(path: Path) -> Path:
    """Write a key and a certificate for ``localhost`` that it signed itself; returns its path."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    hosts = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + certificate.public_bytes(pem))
    return path


def free_port() -> int:
    """Find a port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
    except OSError:
        return False
    return True


def _odd(*habits: str) -> Starter:
    return partial(odd, habits=habits)


limit_conn = partial(
    nginx,
    zone="limit_conn_zone $binary_remote_addr zone=one:1m;",
    rule="limit_conn one 8; limit_rate 50k;",  # slow enough for connections to meet
)
limit_req = partial(
    nginx,
    zone="limit_req_zone $binary_remote_addr zone=one:1m rate=400r/s;",
    rule="limit_req zone=one burst=10;",
)
ORIGINS: dict[str, Starter] = {
    "http.server": http_server,
    "nginx": nginx,
    "nginx limit_conn": limit_conn,
    "nginx limit_req": limit_req,
    **({"flask": flask} if find_spec("flask") else {}),
    "one at a time, 20 ms": _odd("--one-at-a-time", "--delay-ms", "20", "--http", "1.0"),
    "at hand": _odd(),
    "80 ms away": _odd("--delay-ms", "80"),
    "stalls": _odd("--stall-every", "100"),
    "https": https,
    "HTTP/1.0": _odd("--http", "1.0"),
    "closes": _odd("--close"),
}
