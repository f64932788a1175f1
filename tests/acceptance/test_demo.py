"""`lse demo`, the first thing that anybody types: flows without a server, and reports."""

from pathlib import Path

from commands import Lse


def test_the_main_job_is_done_and_shown(tmp_path: Path) -> None:
    shown = Lse(tmp_path, {})("demo", "--traces", "2", timeout=240)
    assert shown.code == 0, shown.out + shown.err
    assert "Traceback" not in shown.err
    assert shown.out.count("verify  done        no differences") == 6
    assert "Date,Total Traces,Zenrows Errors,Error Rate\n2025-09-13,4," in shown.out
    assert len([*(tmp_path / "demo/data").glob("*/*/[0-9]*_*.json")]) == 12
    [published] = (tmp_path / "demo/archives/reports").rglob("*.csv")
    assert published.read_text().startswith("Date,Total Traces")
    assert (tmp_path / "demo/.lse/prefect/prefect.db").exists()
