"""Register what `prefect.yaml` declares: the work pool, its deployments, and nothing else of ours.

    python deployments/apply.py [--prune]

Safe to repeat. With `--prune`, deployments of the flows of `lse` that the file no longer names are deleted;
Prefect itself leaves them, and their schedules, for ever.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectAlreadyExists

ROOT = Path(__file__).parent.parent
POOL = "lse"


def declared() -> dict[str, Any]:
    """The content of `prefect.yaml`."""
    content: dict[str, Any] = yaml.safe_load((ROOT / "prefect.yaml").read_text("utf-8"))
    return content


def make_pool(client: SyncPrefectClient) -> bool:
    """Make the process work pool; False when it is there already."""
    try:
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
    except ObjectAlreadyExists:
        return False
    return True


def stale(client: SyncPrefectClient) -> list[Any]:
    """Deployments tagged `lse` on the server that the file does not name."""
    names = {deployment["name"] for deployment in declared()["deployments"]}
    return [found for found in client.read_deployments() if "lse" in found.tags and found.name not in names]


def main() -> int:
    """Apply; the exit code is that of `prefect deploy`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prune", action="store_true", help="delete deployments the file no longer names")
    options = parser.parse_args()
    with get_client(sync_client=True) as client:
        made = make_pool(client)
        print(f"work pool {POOL}: {'made' if made else 'there already'}")
        command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
        code = subprocess.run(command, cwd=ROOT, check=False).returncode
        for deployment in stale(client):
            if options.prune:
                client.delete_deployment(deployment.id)
            print(f"deployment {deployment.name}: {'deleted' if options.prune else 'stale, use --prune'}")
    return code


if __name__ == "__main__":
    sys.exit(main())
