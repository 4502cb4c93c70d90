"""The project's own rules: who imports whom, what a script looks like, which commands exist."""

import ast
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT

from benchmarks import results
from handwriting.script import PRIMARY, STUDY, compose

STAGES = sorted(path.name for path in ROOT.glob("training_*") if path.is_dir())
# A stage stands on the shared package and on these rooms of earlier stages.
BELOW = {
    "training_style_transfer": {"training_clip.model", "training_clip.retrieval"},
    "training_cdiffusion_model": {"training_clip.model", "training_clip.retrieval"},
}
MODULES = sorted(
    path.relative_to(ROOT)
    for folder in ("handwriting", *STAGES)
    for path in (ROOT / folder).rglob("*.py")
)


def parsed(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))


def imported(path: Path) -> set[str]:
    """The modules that a file imports, ``from package import module`` included."""
    found = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found.add(str(node.module))
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def is_script(path: Path) -> bool:
    return any("__main__" in ast.dump(n) for n in parsed(path).body if isinstance(n, ast.If))


READMES = [p.relative_to(ROOT) for p in (ROOT / "README.md", *ROOT.glob("training_*/README.md"))]
PAGES = [*READMES, *(p.relative_to(ROOT) for p in ROOT.glob("docs/*.md") if p.stem != "log")]
ROOT_SCRIPTS = [
    Path(path.name) for path in ROOT.glob("*.py") if is_script(path) and path.stem != "run"
]
SCRIPTS = [path for path in MODULES if path.parts[0] in STAGES and is_script(path)]


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_imports_run_down_the_pipeline(path: Path) -> None:
    home = path.parts[0]
    rooms = BELOW.get(home, set())
    foreign = {n for n in imported(path) if n.split(".")[0] in {*STAGES, "pipeline"} - {home}}
    foreign -= {n for n in foreign for room in rooms if n == room or n.startswith(f"{room}.")}
    assert foreign - {room.split(".")[0] for room in rooms} == set()


FLOORS = (
    "ranges errors", "config", "rng storage", "arguments parallel", "characters", "images",
    "networks", "sources", "runs", "etl", "corpus", "reports overrides", "script",
)  # fmt: skip
FLOOR_OF = {room: i for i, rooms in enumerate(FLOORS) for room in rooms.split()}


@pytest.mark.parametrize("path", [p for p in MODULES if p.parts[0] == "handwriting"], ids=str)
def test_rooms_import_from_the_floors_below(path: Path) -> None:
    if path.parts[1] == "__init__.py":
        return
    own = path.with_suffix("").parts[1]
    rooms = {name.split(".")[1] for name in imported(path) if name.startswith("handwriting.")}
    above = {room for room in rooms - {own} if FLOOR_OF[room] >= FLOOR_OF[own]}
    assert above == set()


@pytest.mark.parametrize("path", [path for path in MODULES if path.parts[0] in STAGES], ids=str)
def test_training_does_not_know_of_processes(path: Path) -> None:
    if path.parts[0] == "training_character_classification" and not path.name.startswith("train"):
        return  # the last stage compares and reports, on the first process alone
    assert [name for name in imported(path) if name.startswith("handwriting.parallel")] == []


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_no_module_imports_a_script(path: Path) -> None:
    scripts = {".".join(script.with_suffix("").parts) for script in SCRIPTS}
    assert imported(path) & scripts == set()


def docstring(path: Path) -> str:
    return ast.get_docstring(parsed(path)) or ""


def commands(text: str) -> list[list[str]]:
    """The commands in a text that run one of our files, as words from the file on, no comments."""
    joined = re.sub(r"\\\n\s*", " ", text)
    lines = re.findall(
        r"^[\s$]*(?:python3?|torchrun --nproc_per_node \d) (\S+\.py\b.*)$", joined, re.MULTILINE
    )
    return [shlex.split(line, comments=True) for line in lines]


def alternatives(override: str) -> list[str]:
    """The overrides that a sweep's ``a=b,c`` stands for."""
    key, _, value = override.partition("=")
    outside_lists = re.split(r",(?![^\[{]*[\]}])", value)
    return [f"{key}={part}" for part in outside_lists]


def assert_composes(words: list[str]) -> None:
    script, *rest = words
    assert (ROOT / script).is_file(), script
    if script == "run.py" or script.startswith("benchmarks/"):
        return  # their words are their own
    overrides = [word for word in rest if not word.startswith("-")]
    swept = [alternatives(override) for override in overrides]
    for i in range(max(map(len, swept), default=1)):
        primary = Path(script).stem if Path(script).stem in PRIMARY else STUDY
        compose([choices[min(i, len(choices) - 1)] for choices in swept], primary)


@pytest.mark.parametrize("path", [*SCRIPTS, *ROOT_SCRIPTS], ids=str)
def test_a_script_has_a_main_and_a_docstring_with_a_command_that_composes(path: Path) -> None:
    body = parsed(path).body
    (main,) = (n for n in body if isinstance(n, ast.FunctionDef) and n.name == "main")
    assert [argument.arg for argument in main.args.args] == ["config"]
    found = commands(docstring(path))
    assert str(path) in {words[0] for words in found}
    first = next(n for n in body if isinstance(n, ast.Import | ast.ImportFrom))
    assert ast.unparse(first) == "from handwriting.script import run_script"  # answers --help
    for words in found:
        assert_composes(words)


@pytest.mark.parametrize("path", PAGES, ids=str)
def test_the_commands_of_a_page_compose(path: Path) -> None:
    found = commands((ROOT / path).read_text(encoding="utf-8"))
    assert found or path not in READMES
    for words in found:
        assert_composes(words)


@pytest.mark.parametrize("path", READMES, ids=str)
def test_the_code_of_a_readme_runs(path: Path) -> None:
    text = (ROOT / path).read_text(encoding="utf-8")
    for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(re.sub(r"\d{4}\b|(?<=\()64\b", "4", code), {})  # numbers of images and steps


@pytest.mark.parametrize("path", PAGES, ids=str)
def test_what_a_page_links_to_is_there(path: Path) -> None:
    text = (ROOT / path).read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    assert [link for link in links if not (ROOT / path).parent.joinpath(link).exists()] == []


@pytest.mark.parametrize(
    "path", sorted((ROOT / "conf" / "experiment").glob("*.yaml")), ids=lambda path: str(path.stem)
)
def test_an_experiment_begins_with_its_command_and_names_its_study(path: Path) -> None:
    header, _, _ = path.read_text(encoding="utf-8").partition("\nname:")
    found = commands(header.replace("#", " "))
    assert found
    for words in found:
        assert f"experiment={path.stem}" in words
        assert_composes(words)
    assert compose([f"experiment={path.stem}"]).name == path.stem


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_every_module_and_public_class_says_what_it_is(path: Path) -> None:
    tree = parsed(path)
    assert ast.get_docstring(tree) or not tree.body  # the empty __init__ of a room
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    networks = [c for c in classes if any("Module" in ast.dump(base) for base in c.bases)]
    assert [c.name for c in networks if not ast.get_docstring(c)] == []


def tracked() -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listing.returncode:
        pytest.skip("not a git checkout")
    files = (ROOT / name for name in listing.stdout.split("\0") if name)
    return [path for path in files if path.is_file()]


def test_no_tracked_file_names_a_place_on_this_machine() -> None:
    places = re.compile(rb"/(work|root|home/[a-z]+|Users/[a-z]+|mnt|scratch)/")
    found = []
    for path in tracked():
        content = path.read_bytes()
        if b"\0" not in content and places.search(content):
            found.append(str(path.relative_to(ROOT)))
    assert [name for name in found if name != "tests/test_project.py"] == []


@pytest.mark.parametrize("page", results.PAGES, ids=lambda page: page.name)
def test_tables_of_pages_are_those_of_stored_results(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert results.with_tables(text) == text, "run python -m benchmarks.results --write"


def test_no_large_file_and_no_results_are_tracked() -> None:
    for path in tracked():
        ships = path.parent == ROOT / "handwriting" / "weights"
        assert ships or path.stat().st_size < 2_000_000, path
        assert path.relative_to(ROOT).parts[0] not in ("runs", "cache", "outputs", "wandb"), path
        assert ships or path.suffix not in (".safetensors", ".npy", ".pyc"), path
