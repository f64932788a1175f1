"""What runs unattended: `prefect.yaml`, the compose file and the scripts of the image."""

import importlib
import inspect
import os
import re
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DEPLOYMENTS = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
FILES = [(ROOT / name).read_text() for name in ("docker-compose.yml", "docker-compose.redis.yml")]
COMPOSE, REDIS = map(yaml.safe_load, FILES)


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda deployment: deployment["name"])
def test_each_deployment_names_a_flow_and_parameters_it_takes(deployment: dict[str, Any]) -> None:
    file, _, name = deployment["entrypoint"].partition(":")
    module = importlib.import_module(file.removesuffix(".py").replace("/", "."))

    takes = inspect.signature(getattr(module, name).fn).parameters

    for parameters in [deployment, *deployment["schedules"]]:
        assert set(parameters.get("parameters", {})) <= set(takes)
    required = {key for key, value in takes.items() if value.default is inspect.Parameter.empty}
    assert not deployment["schedules"] or required <= set(deployment["parameters"])


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda deployment: deployment["name"])
def test_each_schedule_can_be_read_and_states_its_time_zone(deployment: dict[str, Any]) -> None:
    from prefect.client.schemas.schedules import CronSchedule

    for schedule in deployment["schedules"]:
        CronSchedule(cron=schedule["cron"], timezone=schedule["timezone"])
        assert schedule["timezone"] == "UTC"  # which has no summer time
        assert schedule["slug"]


def test_the_server_module_of_the_locked_prefect_can_be_imported() -> None:
    """Some pairs of Prefect and FastAPI install, import as `prefect`, and break only here."""
    importlib.import_module("prefect.server.api.server")


def test_the_scheduler_of_the_locked_prefect_works_with_the_locked_sqlalchemy() -> None:
    """Prefect 3.8.8 inserts scheduled runs in a form that SQLAlchemy 2.1 refuses; the server only logs it."""
    assert version("sqlalchemy").startswith("2.0.")


def test_the_compose_files_hold_no_password_and_define_every_secret_they_use() -> None:
    script = (ROOT / "deployments/postgres-init.sh").read_text()
    roles = re.findall(r"for name in (.+); do", script)[0].split()
    services = [service for part in (COMPOSE, REDIS) for service in part["services"].values()]
    used = {secret for service in services for secret in service.get("secrets", [])}
    named = {name for text in FILES for name in re.findall(r"/run/secrets/(\w+)", text)}

    assert used == COMPOSE["secrets"].keys() | REDIS["secrets"].keys()
    assert named | {f"{role}_password" for role in roles} == used
    assert not [text for text in FILES if re.findall(r"(?i)password: *[^/{\s]", text)]


def test_each_service_of_the_compose_files_that_stays_up_has_a_health_check() -> None:
    services = COMPOSE["services"] | {
        name: COMPOSE["services"].get(name, {}) | service for name, service in REDIS["services"].items()
    }
    lasting = {name for name, service in services.items() if service.get("restart") != "no"}

    assert {name for name in lasting if "healthcheck" not in services[name]} == set()


def test_each_variable_of_the_second_api_server_is_one_that_prefect_reads() -> None:
    messaging = pytest.importorskip("prefect_redis.client").RedisMessagingSettings
    from prefect.settings import Settings
    from prefect.settings.legacy import _get_settings_fields

    server = REDIS["services"]["server-2"]["environment"]
    variables = {name.removesuffix("_FILE") for name in server if name.startswith("PREFECT_")}

    known = {
        *_get_settings_fields(Settings),
        *(f"PREFECT_REDIS_MESSAGING_{name.upper()}" for name in messaging.model_fields),
    }
    assert variables - known == set()
    for name in ("MESSAGING_BROKER", "MESSAGING_CACHE", "SERVER_EVENTS_CAUSAL_ORDERING"):
        importlib.import_module(server[f"PREFECT_{name}"])


def test_no_server_that_shares_redis_is_without_services() -> None:
    """It would take what the schedules, automations and recorders of the other are to do, and drop it."""
    commands = {name: service.get("command", ()) for name, service in REDIS["services"].items()}

    assert commands["server-2"][:3] == ["prefect", "server", "start"]
    assert {name for name, command in commands.items() if "--no-services" in command} == set()


def test_docker_compose_accepts_the_file() -> None:
    docker = shutil.which("docker")
    if not docker or subprocess.run([docker, "compose", "version"], capture_output=True).returncode:
        pytest.skip("docker compose is not installed")
    both = ["-f", "docker-compose.yml", "-f", "docker-compose.redis.yml"]
    for files in ([], both):
        command = [docker, "compose", *files, "config", "--quiet"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("script", ["with-secrets", "postgres-init.sh", "backup.sh"])
def test_the_scripts_of_the_image_are_valid(script: str) -> None:
    done = subprocess.run(["sh", "-n", ROOT / "deployments" / script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_flow_of_alerts_is_not_watched_by_the_automations_that_start_it() -> None:
    """A failure to tell would start itself for ever."""
    watched = {deployment["name"]: "lse-watched" in deployment["tags"] for deployment in DEPLOYMENTS}

    assert {name for name, is_watched in watched.items() if not is_watched} == {"alerts"}


def test_each_unit_of_systemd_runs_a_command_that_there_is() -> None:
    analyze = shutil.which("systemd-analyze")
    for unit in sorted((ROOT / "deployments/systemd").glob("*.service")):
        text = unit.read_text()
        command = re.findall(r"^ExecStart=/srv/lse/.venv/bin/(lse|prefect) (.+)$", text, re.MULTILINE)
        assert command, unit.name
        assert "EnvironmentFile=/srv/lse/.env" in text
    if analyze:
        units = [str(path) for path in sorted((ROOT / "deployments/systemd").glob("*.timer"))]
        assert subprocess.run([analyze, "verify", "--man=no", *units], capture_output=True).returncode in (
            0,
            1,
        )


def test_secrets_reach_the_command_by_file_and_not_by_argument(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("secret-key\n")

    done = subprocess.run(
        [ROOT / "deployments/with-secrets", "sh", "-c", "echo $LANGSMITH_API_KEY"],
        env={"PATH": os.environ["PATH"], "LANGSMITH_API_KEY_FILE": str(tmp_path / "key")},
        capture_output=True,
        text=True,
    )

    assert (done.stdout, done.stderr) == ("secret-key\n", "")


def test_the_environment_template_names_every_variable_and_no_other() -> None:
    from lse.settings import Settings, variable_name

    known = {variable_name(field) for field in Settings.model_fields}
    text = (ROOT / "deployments/env.example").read_text()

    assert set(re.findall(r"^#?([A-Z0-9_]+)=", text, re.MULTILINE)) == known


def test_the_locks_hold_hashes_and_no_address() -> None:
    lock = (ROOT / "requirements.lock").read_text()

    assert "://" not in lock
    assert not re.search(r"^--(index|extra|find)", lock, re.MULTILINE)
    assert all("--hash=sha256:" in block for block in re.split(r"\n(?=\S)", lock) if "==" in block)
