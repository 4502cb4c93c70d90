"""Set up and run, with nothing but Python 3.11 to 3.14 and its venv module.

python3 run.py                             the demo, from strokes to report
python3 run.py experiment=smoke seed=1     pipeline.py with these Hydra overrides
python3 run.py test [pytest arguments]     the tests
python3 run.py setup                       only the set-up

The first start creates .venv from requirements.lock, where every package is pinned by its hash;
later starts begin at once, until the list changes.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
LOCK = ROOT / "requirements.lock"
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
INSTALLED = VENV / "installed.sha256"  # of the list that is installed; empty while it is not

# Would lead the interpreter to other packages, pip to another place than .venv, or every process
# to compile two thousand modules anew, nine seconds of it.
STRAYS = ["PYTHONHOME", "PYTHONPATH", "PIP_PREFIX", "PIP_PYTHON", "PIP_ROOT", "PIP_TARGET"]
STRAYS += ["PIP_USER", "PYTHONDONTWRITEBYTECODE"]


def main(arguments: list[str]) -> None:
    if arguments[:1] in (["--help"], ["-h"]):
        sys.exit(print(__doc__))
    for name in STRAYS:
        os.environ.pop(name, None)
    set_up()
    if arguments[:1] == ["test"]:
        os.chdir(ROOT)
    if arguments[:1] != ["setup"]:
        become(job(arguments))


def job(arguments: list[str]) -> list[str]:
    """What .venv's Python is to run."""
    if arguments[:1] == ["test"]:
        return ["-m", "pytest", *arguments[1:]]
    chosen = any(word.lstrip("+").startswith("experiment=") for word in arguments)
    return [str(ROOT / "pipeline.py"), *([] if chosen else ["experiment=demo"]), *arguments]


def set_up() -> None:
    """Make .venv as the list says, unless it is there; one that was interrupted is made anew."""
    if not (3, 11) <= sys.version_info[:2] <= (3, 14):
        sys.exit(f"{sys.executable} is {platform.python_version()}: Python 3.11 to 3.14 is needed.")
    lock = LOCK.read_bytes()
    wanted = hashlib.sha256(lock).hexdigest()
    if VENV.exists() and not INSTALLED.exists():
        sys.exit(f"{VENV} is not of run.py's making: move it away or delete it, then try again.")
    if PYTHON.exists() and INSTALLED.read_text() == wanted:
        return
    if not (importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip")):
        sys.exit(f"{sys.executable} cannot make environments: sudo apt-get install python3-venv")

    print(f"Setting up {VENV}: downloads about 3 GB and takes 6 GB of disk;", flush=True)
    print("one to two minutes on a fast line.", flush=True)
    shutil.rmtree(VENV, ignore_errors=True)
    VENV.mkdir()
    INSTALLED.touch()
    call(sys.executable, "-m", "venv", str(VENV))
    # One package comes as source only: it is built with the setuptools of the list, not the newest.
    builder = VENV / "setuptools.lock"
    builder.write_bytes(re.findall(rb"^setuptools==(?:.*\\\n)*.*\n", lock, re.MULTILINE)[0])
    install("--require-hashes", "-r", str(builder))
    install("--require-hashes", "--no-build-isolation", "-r", str(LOCK))
    install("--no-deps", "--no-build-isolation", "-e", str(ROOT))
    INSTALLED.write_text(wanted)
    print("Set up.", flush=True)


def install(*arguments: str) -> None:
    options = ["--no-compile", "--disable-pip-version-check"]
    call(str(PYTHON), "-m", "pip", "install", *options, *arguments)


def call(*command: str) -> None:
    code = subprocess.call(command)
    if code:
        print(f"The set-up failed at: {' '.join(command)}\nStart again to make it anew.")
        sys.exit(code)


def become(arguments: list[str]) -> None:
    """Go on as .venv's Python: signals, interrupts and the exit code are the job's own."""
    command = [str(PYTHON), *arguments]
    if os.name == "nt":
        sys.exit(subprocess.call(command))
    os.execv(command[0], command)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(130)
