"""Any bit of any copy turned over, chosen by nobody: found, repaired, taken back; and a thousand clean looks.

TORTURE_KILLS says how many bits, TORTURE_SEED which; a failure names the file and the byte.
"""

import os
import random
from pathlib import Path

import pytest
from day_of_copies import DayOfCopies

BITS = int(os.environ.get("TORTURE_KILLS") or 500)
SEED = os.environ.get("TORTURE_SEED") or str(random.randrange(10**6))


@pytest.mark.timeout(0)
def test_any_bit_is_found_repaired_and_taken_back(tmp_path: Path, database_url: str) -> None:
    print(f"TORTURE_SEED={SEED} TORTURE_KILLS={BITS}")
    day, rng = DayOfCopies(tmp_path, database_url), random.Random(SEED)
    golden = day.all_bytes()
    for _ in range(BITS):
        path = rng.choice([*day.traces(), day.attachment(), day.folder / "superseded.jsonl"] + 5 * [day.zip])
        path = rng.choice([path, path, path, day.object])
        at = rng.randrange(path.stat().st_size)
        day.flip(path, at)
        damaged = day.all_bytes()
        named = {difference.copy for difference in day.compare().differences}
        copy = "target" if path == day.object else "zip" if path == day.zip else "files"
        assert named == {copy}, f"{path.name} at {at}"
        assert day.fix().result.exit_code == 0, f"{path.name} at {at}"
        assert day.all_bytes() == golden, f"{path.name} at {at}"
        day.undo()
        assert day.all_bytes() == damaged, f"{path.name} at {at}"
        day.fix()


@pytest.mark.timeout(0)
def test_a_thousand_clean_looks_raise_no_alarm(tmp_path: Path, database_url: str) -> None:
    for seed in range(100):
        day = DayOfCopies(tmp_path / str(seed), database_url, seed)
        for _ in range(8):
            assert day.compare().differences == [], seed
        assert day.compare("quick").differences == [], seed
        assert day.compare("deep").differences == [], seed
        day.sql("truncate runs, feedback, project_days, daily_rollups")
