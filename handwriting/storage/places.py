"""Where the project's own files are."""

import subprocess
from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
_CHECKOUT = _PACKAGE.parent


def _shipped(name: str) -> Path:
    """A data folder: beside the package in a checkout, inside it in an installed wheel."""
    installed = _PACKAGE / name
    return installed if installed.is_dir() else _CHECKOUT / name


CONFIG_DIR = _shipped("conf")
INFORMATION_DIR = _shipped("information")
WEIGHTS_DIR = _PACKAGE / "weights"


def workspace() -> Path:
    """The folder that holds ``runs/`` and ``cache/``: the checkout, or else the current folder."""
    return _CHECKOUT if (_CHECKOUT / "conf" / "study.yaml").is_file() else Path.cwd()


@cache
def git_commit() -> str | None:
    """The commit of the checkout; None without one, as in an installed package."""
    if not (_CHECKOUT / ".git").exists():
        return None
    # safe.directory: another user may own the checkout, as in a container.
    command = ["git", "-C", str(_CHECKOUT), "-c", "safe.directory=*", "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
