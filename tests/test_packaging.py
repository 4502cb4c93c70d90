"""Set-up: the wheel is whole, the locked list fits the project, run.py installs what it should."""

import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import run

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = (ROOT / "requirements.lock").read_text()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel, unpacked; hatchling builds it without pip and without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


def test_wheel_holds_every_module_config_and_class_list(wheel: Path) -> None:
    # Modules called read would be in the way of others; the notebook's function is in the package.
    left_out = {Path("run.py"), Path("read.py")}
    expected = {path.relative_to(ROOT) for path in ROOT.glob("*.py")} - left_out
    for package in ["handwriting", *(path.name for path in ROOT.glob("training_*"))]:
        expected |= {path.relative_to(ROOT) for path in (ROOT / package).rglob("*.py")}
    for data, pattern in [("conf", "*.yaml"), ("information", "*.*")]:
        files = {path.relative_to(ROOT) for path in (ROOT / data).rglob(pattern)}
        expected |= {"handwriting" / path for path in files}
    weights = {
        path.relative_to(ROOT) for path in (ROOT / "handwriting/weights").glob("*.safetensors")
    }
    expected |= weights
    assert weights
    assert len(expected) > 40
    assert [str(path) for path in sorted(expected) if not (wheel / path).is_file()] == []


def test_wheel_finds_its_data_and_works_in_the_current_folder(wheel: Path, tmp_path: Path) -> None:
    script = """
import json, handwriting.characters.classes as characters, handwriting.storage.places as files
from handwriting.script import compose
places = [files.CONFIG_DIR, files.INFORMATION_DIR, compose(["experiment=smoke"]).runs_dir]
print(json.dumps([*map(str, places), len(characters.named_lists()["evaluation"])]))
"""
    environment = {**os.environ, "PYTHONPATH": str(wheel)}
    found = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, check=True,
        capture_output=True, text=True,
    )  # fmt: skip
    inside = wheel / "handwriting"
    expected = [str(inside / "conf"), str(inside / "information"), str(tmp_path / "runs"), 973]
    assert json.loads(found.stdout) == expected


def locked() -> dict[str, list[str]]:
    """The versions of each package in the list; several where Python versions differ."""
    versions: dict[str, list[str]] = {}
    for name, version in re.findall(r"^(\S+)==([^\s;]+)", LOCK, re.MULTILINE):
        versions.setdefault(canonicalize_name(name), []).append(version)
    return versions


def test_locked_list_satisfies_the_dependencies() -> None:
    versions = locked()
    extras = PROJECT["optional-dependencies"]
    direct = [*PROJECT["dependencies"], *extras["dev"], *extras["judge"]]
    for requirement in map(Requirement, direct):
        if requirement.name == PROJECT["name"]:
            assert requirement.extras == {"judge"}  # an extra that another one includes
            continue
        pinned = versions.get(canonicalize_name(requirement.name), [])
        assert pinned, f"{requirement.name} is not in requirements.lock"
        assert all(version in requirement.specifier for version in pinned), str(requirement)


def test_locked_list_pins_by_hash_and_names_no_place() -> None:
    package = r"[A-Za-z0-9._-]+==[^\s;]+( ; [^\\]+)? \\\n(    --hash=sha256:[0-9a-f]{64}( \\)?\n)+"
    assert re.fullmatch(rf"({package}|\s*#.*\n)+", LOCK)
    assert not re.search(r"/|\\\w|--index|--find|@", LOCK)
    assert {"setuptools", "hatchling"} <= locked().keys()  # what source packages are built with


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What run.py would start, its .venv being in a temporary folder."""
    venv, started = tmp_path / ".venv", list[tuple[str, ...]]()
    monkeypatch.setattr(run, "VENV", venv)
    monkeypatch.setattr(run, "PYTHON", venv / "python")
    monkeypatch.setattr(run, "INSTALLED", venv / "installed.sha256")

    def call(*command: str) -> None:
        started.append(command)
        run.PYTHON.touch()

    monkeypatch.setattr(run, "call", call)
    return started


def test_set_up_installs_once(commands: list[tuple[str, ...]]) -> None:
    run.set_up()
    builder = (run.VENV / "setuptools.lock").read_text()
    assert builder.startswith("setuptools==")
    assert builder in LOCK
    assert all("--require-hashes" in c or "--no-deps" in c for c in commands if "install" in c)
    num_started = len(commands)
    run.set_up()
    assert len(commands) == num_started


def test_interrupted_set_up_is_made_anew(
    commands: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(run, "install", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run.set_up()
    (run.VENV / "half-installed").touch()
    run.set_up()
    assert not (run.VENV / "half-installed").exists()
    assert run.INSTALLED.read_text()


def test_environment_of_another_tool_is_left_alone(commands: list[tuple[str, ...]]) -> None:
    run.VENV.mkdir()
    with pytest.raises(SystemExit, match="not of run.py's making"):
        run.set_up()
    assert commands == []


def test_what_is_started_is_led_to_no_other_packages_and_keeps_its_bytecode(
    commands: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = ("PYTHONPATH", "PIP_TARGET", "PYTHONDONTWRITEBYTECODE")
    for name in elsewhere:
        monkeypatch.setenv(name, "1")
    run.main(["setup"])
    assert commands
    assert not os.environ.keys() & set(elsewhere)


def test_other_versions_of_python_are_refused(
    commands: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 2))
    with pytest.raises(SystemExit, match="Python 3.11 to 3.14 is needed"):
        run.set_up()
    assert commands == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], [str(ROOT / "pipeline.py"), "experiment=demo"]),
        (["seed=1"], [str(ROOT / "pipeline.py"), "experiment=demo", "seed=1"]),
        (["experiment=smoke"], [str(ROOT / "pipeline.py"), "experiment=smoke"]),
        (["test", "-k", "x"], ["-m", "pytest", "-k", "x"]),
    ],
)
def test_arguments_choose_the_job(arguments: list[str], expected: list[str]) -> None:
    assert run.job(arguments) == expected


def test_exit_code_of_a_failing_command_is_passed_on() -> None:
    with pytest.raises(SystemExit) as caught:
        run.call(sys.executable, "-c", "raise SystemExit(7)")
    assert caught.value.code == 7
