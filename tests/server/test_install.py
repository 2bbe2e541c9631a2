"""make install and make uninstall, into a temporary folder, and the programs as they run from there."""
import json
import os
import re
import subprocess
import urllib.request

import pytest
from hotseat_harness import BUILD, ROOT, run_cli, seconds

pytestmark = pytest.mark.xdist_group("install")


def make(target, dest, prefix="/opt/hot seat"):
    done = subprocess.run(["make", "-s", target, f"PREFIX={prefix}", f"DESTDIR={dest}"], cwd=ROOT, capture_output=True, text=True, timeout=seconds(60))
    assert done.returncode == 0, done
    return done.stdout


def files(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A prefix with a space in it, and a neighbour's files in the same folders."""
    dest = tmp_path_factory.mktemp("dest")
    prefix = dest / "opt" / "hot seat"
    for theirs in ("bin/theirs", "share/man/man1/theirs.1", "share/doc/theirs/README"):
        (prefix / theirs).parent.mkdir(parents=True, exist_ok=True)
        (prefix / theirs).write_text("theirs")
    before = files(dest)
    make("install", dest)
    yield prefix
    make("install", dest)  # once more over it
    assert set(before) < set(files(dest))
    gone = make("uninstall", dest)
    assert files(dest) == before and "bin/hotseat-seat" in gone
    assert not (prefix / "share/doc/hotseat").exists() and (prefix / "bin").exists()
    assert make("uninstall", dest) == ""  # there is nothing left to take away


def env(tmp_path):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("HOTSEAT_")}
    return clean | {f"XDG_{kind}_HOME": str(tmp_path / kind) for kind in ("CACHE", "CONFIG", "DATA")}


def test_what_is_installed(installed):
    have = files(installed)
    for name in ("bin/hotseat", "bin/hotseat-seat", "share/man/man1/hotseat.1", "share/doc/hotseat/README.md", "share/doc/hotseat/docs/api.md",
                 "share/doc/hotseat/docs/adr/0001-two-programs.md"):
        assert name in have
    assert not any("fake" in name or "test_" in name for name in have), have
    assert os.access(installed / "bin/hotseat", os.X_OK) and not os.access(installed / "share/man/man1/hotseat.1", os.X_OK)


def test_it_finds_its_seat(installed, tmp_path):
    """Also through a link from another folder."""
    link = tmp_path / "link"
    link.symlink_to(installed / "bin/hotseat")
    for program in (installed / "bin/hotseat", link):
        done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=30, cwd="/")
        assert done.returncode == 0 and re.search(r"hotseat-seat [\d.]+, engine llama", done.stdout), done
        done = subprocess.run([program, "doctor", "--port", "0", "--json"], capture_output=True, text=True, timeout=30, cwd="/", env=env(tmp_path))
        seat = [f for f in json.loads(done.stdout)["findings"] if f["check"] == "seat"]
        assert len(seat) == 1 and seat[0]["level"] == "ok" and f"{installed}/bin/hotseat-seat" in seat[0]["text"], done


def test_it_serves(installed, models, tmp_path):
    (tmp_path / "DATA" / "hotseat").mkdir(parents=True)
    (tmp_path / "DATA" / "hotseat" / "models").symlink_to(models)  # where an installed one looks
    p = subprocess.Popen([installed / "bin/hotseat", "serve", "--port", "0", "--model", "none"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                         env=env(tmp_path), cwd="/")
    try:
        url = re.fullmatch(r"hotseat: ready on (http://\S+)\n", p.stdout.readline())[1]
        listed = json.load(urllib.request.urlopen(url + "/v1/models", timeout=10))["data"]
        assert [m["id"] for m in listed] == ["a", "b", "c", "w"]
        assert run_cli(url, "ps").returncode == 0
        assert (tmp_path / "CACHE" / "hotseat" / "LOCK").exists()
    finally:
        p.terminate()
        assert p.wait(seconds(30)) == 0


def test_the_manual_page(installed):
    page = subprocess.run([BUILD / "hotseat", "--help-man"], capture_output=True, text=True, timeout=30).stdout
    assert page == (ROOT / "docs/hotseat.1").read_text(), "docs/hotseat.1 is made by: hotseat --help-man"
    assert page == (installed / "share/man/man1/hotseat.1").read_text()
    plain = page.replace("\\-", "-")
    for verb in re.findall(r"^  hotseat (\w+)", subprocess.run([BUILD / "hotseat", "--help"], capture_output=True, text=True).stdout, re.M):
        told = subprocess.run([BUILD / "hotseat", verb, "--help"], capture_output=True, text=True).stdout
        options = re.findall(r"^  (--[a-z-]+)", told, re.M)
        assert options and f".SS hotseat {verb}" in plain
        missing = [o for o in options if f"\\fB{o}\\fR" not in plain]
        assert not missing, (verb, missing)
    assert {line.split()[0] for line in page.splitlines() if line.startswith(".")} == {'.\\"', ".TH", ".SH", ".SS", ".TP"}
    assert not [line for line in page.splitlines() if line.startswith("'")]
