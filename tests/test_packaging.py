"""What a wheel holds, and the command that opens the dashboard from it."""

import importlib.util
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import psutil
import pytest

from gelora.cli import main
from gelora.commands.dashboard import dashboard_root

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], cwd=ROOT, check=True)
    (path,) = folder.glob("*.whl")
    return path


def test_a_wheel_installs_no_top_level_name_but_gelora(wheel):
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"gelora"}


def test_a_wheel_holds_the_whole_dashboard_and_no_pictures(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("app", "pages"):
        files = [path.relative_to(ROOT) for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
        assert len(files) > 5
        assert {f"gelora/dashboard/{path.as_posix()}" for path in files} <= names
    assert {"gelora/dashboard/assets/logo.svg", "gelora/dashboard/app/.streamlit/config.toml"} <= names
    assert not [name for name in names if name.endswith(".png")]


def test_streamlit_is_asked_for_by_the_dashboard_alone(wheel):
    metadata = next(name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".dist-info/METADATA"))
    text = zipfile.ZipFile(wheel).read(metadata).decode()
    needs = [line for line in text.splitlines() if line.startswith("Requires-Dist: ")]
    extra_of = {re.match(r"[\w-]+", line.removeprefix("Requires-Dist: "))[0]: "extra ==" in line for line in needs}
    assert extra_of["pandas"] and extra_of["plotly"] and extra_of["streamlit"] and not extra_of["torch"]


def test_an_unpacked_wheel_finds_its_own_dashboard(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = "from gelora.commands.dashboard import dashboard_root; print(dashboard_root())"
    said = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True)
    assert Path(said.stdout.strip()) == tmp_path / "gelora" / "dashboard", said.stderr


def test_a_checkout_opens_its_own_files():
    assert dashboard_root() == ROOT


def test_without_streamlit_the_command_says_what_to_install(monkeypatch, capsys):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "streamlit" else found(name, *rest))
    assert main(["dashboard"]) == 2
    assert "pip install 'gelora-lab[dashboard]'" in capsys.readouterr().err


def test_who_ends_the_command_ends_the_server(tmp_path):
    code = "import sys; from gelora.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "dashboard", "--no-browser", "--port", "0"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ | {"GELORA_HOME": str(tmp_path)}
    )
    for line in process.stdout:
        if "URL" in line:
            break
    servers = psutil.Process(process.pid).children()
    process.terminate()
    process.wait(60)
    gone, left = psutil.wait_procs(servers, timeout=60)
    assert (len(gone) > 0, left) == (True, [])
