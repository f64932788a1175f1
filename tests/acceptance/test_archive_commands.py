"""The archive as its users keep it: list, one trace, encryption, a fresh machine, prune."""

import shutil
from pathlib import Path

import pyrage
import pytest
from commands import LAST_DAY, PROJECT, Lse

DAY = ("--project", PROJECT, "--date", LAST_DAY.isoformat())


@pytest.fixture
def swept(lse: Lse) -> Lse:
    """A machine that swept one day."""
    assert lse("archive", "full-sweep", *DAY).code == 0
    return lse


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name[0] != "_")


def test_the_list_shows_where_each_copy_is(swept: Lse) -> None:
    shown = swept("archive", "list")
    head, row = shown.out.splitlines()
    assert (shown.code, shown.err) == (0, "")
    assert head.split() == "Day State Traces Runs Files Zip Uploaded to In store Verified".split()
    assert row.split()[:3] == [f"{PROJECT}/{LAST_DAY}", "complete", "5"]
    assert " drive " in row
    (day,) = swept("archive", "list", "--ask-target", "--json", "--project", f"{PROJECT[:4]}*").json
    assert (day["project"], day["date"], day["encrypted"]) == (PROJECT, LAST_DAY.isoformat(), False)
    assert day["target_bytes"] == day["zip_bytes"] > 0
    none = swept("archive", "list", "--last", "7d")
    assert (none.code, none.out) == (0, "nothing is archived\n")
    assert swept("archive", "list", "--last", "7d", "--json").json == []


def test_one_trace_comes_back_by_its_id_alone(swept: Lse) -> None:
    folder = swept.folder / "data" / PROJECT / LAST_DAY.isoformat()
    name = next(name for name in names(folder) if name.endswith(".json"))
    content = (folder / name).read_bytes()
    shutil.rmtree(folder)
    done = swept("archive", "restore", "--trace", name[7:-5])
    assert (done.code, done.err) == (0, "")
    assert (folder / name).read_bytes() == content
    assert [other for other in names(folder) if other.endswith(".json")] == [name]

    unknown = "00000000-0000-0000-0000-000000000001"
    lost = swept("archive", "restore", "--project", PROJECT, "--trace", unknown)
    assert (lost.code, lost.out) == (2, "")
    assert lost.err.splitlines() == [
        f"lse: Trace {unknown} is neither in the store nor in an archive on this machine.",
        "     Name its day, and the target is asked: --project P --date D.",
    ]
    assert swept("archive", "restore", *DAY, "--trace", unknown).code == 2
    assert swept("archive", "restore", *DAY, "--trace", "nonsense").code == 2
    no_day = swept("archive", "restore", "--project", PROJECT)
    assert (no_day.code, "Give the day" in no_day.err) == (2, True)


def test_an_encrypted_archive_is_kept_and_read_by_those_who_may(lse: Lse) -> None:
    identity = pyrage.x25519.Identity.generate()
    key = lse.folder / "identity.txt"
    key.write_text(f"{identity}\n")
    key.chmod(0o644)
    recipient = {"LSE_AGE_RECIPIENT": str(identity.to_public())}
    swept = lse("archive", "full-sweep", *DAY, **recipient)
    assert (swept.code, ", encrypted, at " in swept.out) == (0, True)
    assert lse("archive", "verify", *DAY, **recipient).code == 0
    (day,) = lse("archive", "list", "--ask-target", "--json").json
    assert day["encrypted"] is True

    blind = lse("archive", "verify", *DAY, "--deep", **recipient)
    assert (blind.code, "LSE_AGE_IDENTITY" in blind.err) == (7, True)
    shown = lse("archive", "verify", *DAY, "--deep", LSE_AGE_IDENTITY=str(key))
    assert (shown.code, f"chmod 600 {key}" in shown.err) == (7, True)
    key.chmod(0o600)
    assert lse("archive", "verify", *DAY, "--deep", LSE_AGE_IDENTITY=str(key)).code == 0

    folder = lse.folder / "data" / PROJECT / LAST_DAY.isoformat()
    before = names(folder)
    shutil.rmtree(folder)
    assert lse("archive", "restore", *DAY, LSE_AGE_IDENTITY=str(key)).code == 0
    assert names(folder) == before
    assert str(identity) not in blind.err + shown.err


def test_a_fresh_machine_never_replaces_what_is_fuller(swept: Lse) -> None:
    folder = swept.folder / "data" / PROJECT / LAST_DAY.isoformat()
    for name in [name for name in names(folder) if name.endswith(".json")][:1]:
        (folder / name).unlink()
    for note in ("_fetch.json", "_log.jsonl"):
        (folder / note).unlink(missing_ok=True)
    shutil.rmtree(swept.folder / "archives")
    assert swept("archive", "zip", *DAY).code == 0
    refused = swept("archive", "upload", *DAY)
    assert (refused.code, refused.out) == (3, "")
    assert "holds more of 1 file than the zip here" in refused.err
    assert "lse archive restore" in refused.err
    assert swept("archive", "restore", *DAY, "--force").code == 0
    assert swept("archive", "zip", *DAY).code == 0
    assert "unchanged" in swept("archive", "upload", *DAY).out


def test_a_prune_says_first_what_goes_and_then_does_it(swept: Lse) -> None:
    prune = ("archive", "prune", "--keep-days", "30", "--what", "files", "--what", "zip")
    folder = swept.folder / "data" / PROJECT / LAST_DAY.isoformat()

    many = swept(*prune)
    assert (many.code, many.out) == (2, "")
    assert "This would take 1 day of 1 archived, 100 %; at most 10 % are allowed." in many.err

    said = swept(*prune, "--max-share", "100")
    first, total = said.out.splitlines()
    assert said.code == 0
    assert first.startswith(f"{PROJECT}/{LAST_DAY}  would go: files, zip (")
    assert first.endswith("; whole in the target, the store")
    assert total.endswith(" would go; nothing was changed")
    assert names(folder) != []

    done = swept(*prune, "--max-share", "100", "--yes", "--json")
    assert (done.code, done.json["done"]) == (0, True)
    assert done.json["days"][0]["copies"] == ["files", "zip"]
    assert names(folder) == []
    assert swept("archive", "verify", *DAY).code == 0
    assert "pruned" in swept("archive", "list").out
    assert swept(*prune, "--max-share", "100").out == "nothing is due\n"
    assert swept("archive", "restore", *DAY).code == 0
    assert swept("archive", "verify", *DAY).code == 0
    assert swept("archive", "prune").code == 2
    assert swept("archive", "prune", "--keep-days", "1", "--what", "store").code == 2
