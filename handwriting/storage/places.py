"""Where the project's own files lie."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
_CHECKOUT = _PACKAGE.parent


def _shipped(name: str) -> Path:
    """A data folder: beside the package in a checkout, inside it in an installed wheel."""
    installed = _PACKAGE / name
    return installed if installed.is_dir() else _CHECKOUT / name


CONFIG_DIR = _shipped("conf")
INFORMATION_DIR = _shipped("information")


def workspace() -> Path:
    """The folder that ``runs/`` and ``cache/`` lie in: the checkout, else the current folder."""
    return _CHECKOUT if (_CHECKOUT / "conf" / "study.yaml").is_file() else Path.cwd()


def git_commit() -> str | None:
    """The commit that the checkout is at; None outside one, as in an installed package."""
    git = _CHECKOUT / ".git"
    if git.is_file():  # a worktree or submodule: the folder is elsewhere
        git = _CHECKOUT / git.read_text(encoding="utf-8").removeprefix("gitdir:").strip()
    if not (git / "HEAD").is_file():
        return None
    head = (git / "HEAD").read_text(encoding="utf-8").strip()
    if not head.startswith("ref: "):
        return head
    branch = head.removeprefix("ref: ")
    shared = git / "commondir"  # of a worktree: where the branches are
    if shared.is_file():
        git = git / shared.read_text(encoding="utf-8").strip()
    if (git / branch).is_file():
        return (git / branch).read_text(encoding="utf-8").strip()
    packed = git / "packed-refs"
    lines = packed.read_text(encoding="utf-8").splitlines() if packed.is_file() else []
    return next((line.split()[0] for line in lines if line.endswith(f" {branch}")), None)
