"""The rules of the repository itself, for every file that git tracks."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.system

ROOT = Path(__file__).resolve().parent.parent
WORKFLOW = ROOT / ".github/workflows/ci.yml"
TOP_LEVEL = {
    ".ci",
    ".github",
    ".gitignore",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "benchmarks",
    "conduit_nb",
    "constraints.txt",
    "docs",
    "extension",
    "notebooks",
    "pyproject.toml",
    "scripts",
    "tests",
}
MAX_LINES = 800  # most files have 80 to 400; a longer one is likely to be two ideas
MOST_ARCHITECTURE_LINES = 120
NAMELESS = {"utils", "util", "helpers", "helper", "common", "misc"}

# Modules without a test file of their own name, and where they are tested instead.
TESTED_ELSEWHERE: dict[str, str] = {
    "conduit_nb/__init__.py": "tests/test_exports.py",
    "conduit_nb/compute/accelerator_table.py": "tests/compute/test_accelerators.py",
    "conduit_nb/deployments/nodes.py": "tests/deployments/test_service.py",
    "conduit_nb/testing/provider_contract.py": "tests/contracts/test_providers.py",
    "conduit_nb/testing/pod_processes.py": "tests/providers/test_runpod.py",
}

# Written in pieces, so that this file does not contain what it looks for.
REGISTRIES = [
    r"files\.python" + r"hosted\.org",
    r"pypi\.org/" + r"simple",
    r"test\.pypi\." + r"org",
    r"registry\." + r"npmjs",
    r"registry\." + r"yarnpkg",
    r"deb\." + r"debian\.org",
    r"extra-index-url\s*[= ]\s*" + r"https?:",
    r"@ fi" + r"le:",
]
MACHINE_PATHS = [
    r"(?<![\w./~-])/(?:root|work|opt)/" + r"\w",
    r"(?<![\w./~-])/(?:home|Users)/(?!me\b)" + r"\w",
]
LEFT_OVERS = [r"\bTO" + r"DO\b", r"\bFIX" + r"ME\b", r"\bX" + r"XX\b", r"\bHA" + r"CK\b"]
SUPPRESSIONS = re.compile(
    r"#\s*(?:noqa(?::\s*[A-Z]+[0-9]+(?:,\s*[A-Z]+[0-9]+)*)?"
    r"|type:\s*ignore(?:\[[\w,\s-]+\])?"
    r"|pyright:\s*ignore(?:\[[\w,\s-]+\])?)"
    r"(?P<rest>.*)$"
)

# A value that the user gave, a command, a flag with its value, code.
FACT = re.compile(
    r"`[^`]*`|\"[^\"]*\"|(?<!\w)'[^']*'(?!\w)"
    r"|\b(?:conduit|docker|hf|pip|await|async def) [a-z_]+|--[a-z-]+ [a-z]+"
)
ESCAPED = re.compile(r"\\(?P<char>.)[+*]?")
PROSE = re.compile(r"\b[A-Z]?[a-z]+\s+[a-z]+\b")


def tracked() -> list[str]:
    """Return what git tracks, or would (new files that are not ignored)."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout: nothing says which files are the project's")
    return sorted(name for name in listed.stdout.splitlines() if (ROOT / name).is_file())


def texts() -> Iterator[tuple[str, str]]:
    """Yield every tracked text file: its path and what stands in it."""
    for name in tracked():
        try:
            yield name, (ROOT / name).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a picture


def matches(patterns: list[str], *, but: str = "") -> list[str]:
    """Return `file:line: text` of every line that one of `patterns` is found in."""
    pattern = re.compile("|".join(patterns))
    return [
        f"{name}:{number}: {line.strip()[:120]}"
        for name, text in texts()
        if name != but
        for number, line in enumerate(text.splitlines(), start=1)
        if pattern.search(line)
    ]


def test_the_top_level_holds_only_what_a_newcomer_needs_to_know():
    assert {name.split("/")[0] for name in tracked()} <= TOP_LEVEL


@pytest.mark.parametrize(
    "name",
    ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", ".ci/run"],
)
def test_what_every_newcomer_looks_for_is_there(name: str):
    assert (ROOT / name).read_text().strip()


def test_the_licence_is_the_whole_of_apache_2():
    text = (ROOT / "LICENSE").read_text()

    assert "Version 2.0, January 2004" in text
    assert "9. Accepting Warranty or Additional Liability" in text


def test_the_architecture_fits_on_a_page():
    lines = (ROOT / "ARCHITECTURE.md").read_text().splitlines()

    assert len(lines) <= MOST_ARCHITECTURE_LINES
    assert max(map(len, lines)) <= 120, "a page that is wide is no page"


def test_the_architecture_names_every_part_of_the_package():
    text = (ROOT / "ARCHITECTURE.md").read_text()
    parts = {path.name for path in (ROOT / "conduit_nb").iterdir() if not path.name.startswith("_")}

    unnamed = {part for part in parts - {"py.typed"} if part.removesuffix(".py") not in text}

    assert not unnamed


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_every_make_target_that_is_written_about_exists(name: str):
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    named = set(re.findall(r"`make ([a-z]+)", (ROOT / name).read_text()))

    assert named <= targets
    assert {"setup", "check", "test", "demo", "lab", "bench", "soak"} <= targets


@pytest.mark.parametrize("name", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_every_local_link_leads_somewhere(name: str):
    links = re.findall(r"\]\(([^)#]+)\)|src=\"([^\"]+)\"", (ROOT / name).read_text())
    local = [link for pair in links for link in pair if link and "://" not in link]

    assert not [link for link in local if not (ROOT / link).exists()]


def test_the_readme_lists_every_variable_that_is_read():
    source = (ROOT / "conduit_nb/settings.py").read_text()
    readme = (ROOT / "README.md").read_text()

    assert not set(re.findall(r'"(CONDUIT_\w+)"', source)) - set(re.findall(r"CONDUIT_\w+", readme))


def test_no_file_names_a_package_registry():
    assert not matches(REGISTRIES)


def test_no_file_names_a_path_of_somebodys_machine():
    assert not matches(MACHINE_PATHS)


def test_nothing_is_left_for_later_in_a_comment():
    assert not matches(LEFT_OVERS)


def test_every_suppression_carries_its_reason():
    bare: list[str] = []
    for name, text in texts():
        if not name.endswith(".py") or name == "tests/test_repository.py":
            continue
        for number, line in enumerate(text.splitlines(), start=1):
            found = SUPPRESSIONS.search(line)
            if found and not re.search(r"\w{3,}", found["rest"]):
                bare.append(f"{name}:{number}: {line.strip()}")

    assert not bare


def test_every_python_file_stays_under_the_limit():
    long: dict[str, int] = {}
    for name, text in texts():
        lines = len(text.splitlines())
        if name.endswith(".py") and lines > MAX_LINES:
            long[name] = lines

    assert not long, "a file this long is asking to be two ideas"


def test_no_module_is_named_after_nothing():
    assert not [name for name in tracked() if Path(name).stem in NAMELESS]


def test_every_module_of_the_package_has_a_test_of_its_name():
    missing: list[str] = []
    for name in tracked():
        path = Path(name)
        if path.parts[0] != "conduit_nb" or path.suffix != ".py" or name in TESTED_ELSEWHERE:
            continue
        if path.name == "__init__.py":
            continue  # a package's front door: test_exports.py
        mirror = Path("tests", *path.parts[1:-1], f"test_{path.stem.strip('_')}.py")
        if not (ROOT / mirror).is_file():
            missing.append(f"{name} has no {mirror}")

    assert not missing, "\n" + "\n".join(missing)


def test_what_is_tested_elsewhere_still_exists_and_is_tested_there():
    named = [*TESTED_ELSEWHERE, *TESTED_ELSEWHERE.values()]

    assert not [name for name in named if not (ROOT / name).is_file()]


def test_no_test_sleeps():
    slept = [
        f"{name}:{node.lineno}"
        for name, text in texts()
        if name.startswith("tests/") and name.endswith(".py")
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"time.sleep", "sleep"}
    ]

    assert not slept


@pytest.mark.parametrize(
    ("literal", "is_refused"),
    [
        ("could not be read", True),
        ("No space", True),
        (r"\$\.f: expected\s+str", True),
        (r"L40SS|'the city'|`make it so`|pip install 'conduit[x]'", False),
        (r"18\.1 GiB.*22\.5 GiB", False),
        (r"\$\.f\[\]\.value: \d+", False),
        ("--for 24 h", False),
    ],
)
def test_two_words_in_a_row_are_prose_and_a_fact_is_none(literal: str, is_refused: bool):
    matched = f"with pytest.raises(PlanError, match={literal!r}): f()"
    asserted = "with pytest.raises(PlanError) as c: f()\nassert {} in {}"

    for using in [
        matched,
        asserted.format(repr(literal), "str(c.value)"),
        asserted.format(repr(literal), "c.value.hint"),
    ]:
        found = list(prose_expected(f"from conduit_nb import PlanError\n{using}"))
        assert bool(found) is is_refused
        assert not list(prose_expected(f"from torch import PlanError\n{using}"))
    for using in [
        f"assert {literal!r} in str(cells.fail('x'))",
        f"error = cells.fail('x')\nassert error.hint == {literal!r}",
    ]:
        assert bool(list(prose_expected(using))) is is_refused


def test_no_test_expects_the_prose_of_our_errors():
    refused = [
        f"{name}:{line}: {literal}"
        for name, text in texts()
        if name.startswith("tests/") and name.endswith(".py")
        for line, literal in prose_expected(text)
    ]

    assert not refused, "expect a name, a number or a field of the error:\n" + "\n".join(refused)


def prose_expected(source: str) -> Iterator[tuple[int, str]]:
    """Yield where `source` expects an error of ours by words in a row of its message or hint.

    What another program said and our message repeats is a fact: a test has it in a variable.
    """
    tree = ast.parse(source)
    expected: list[ast.expr] = []
    messages: set[str] = set()
    ours = _names_of_ours(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _expects_ours(node, ours):
            expected += [keyword.value for keyword in node.keywords if keyword.arg == "match"]
        elif isinstance(node, ast.withitem) and _expects_ours(node.context_expr, ours):
            error = f"{ast.unparse(node.optional_vars)}.value" if node.optional_vars else ""
            messages |= {f"str({error})", f"{error}.args[0]", f"{error}.hint"}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".fail"):
            messages |= {f"str({ast.unparse(node)})", f"{ast.unparse(node)}.hint"}
        elif isinstance(node, ast.Assign) and ast.unparse(node.value).split("(")[0].endswith(
            ".fail"
        ):
            error = ast.unparse(node.targets[0])
            messages |= {f"str({error})", f"{error}.hint"}
    for node in ast.walk(tree):
        sides = [node.left, *node.comparators] if isinstance(node, ast.Compare) else []
        if messages & {ast.unparse(side) for side in sides}:
            expected += sides
    for literal in (one for part in expected for one in ast.walk(part)):
        if not isinstance(literal, ast.Constant) or not isinstance(literal.value, str):
            continue
        if PROSE.search(FACT.sub("", ESCAPED.sub(_unescaped, literal.value))):
            yield literal.lineno, literal.value


def _names_of_ours(tree: ast.Module) -> set[str]:
    return {
        imported.asname or imported.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "conduit_nb"
        for imported in node.names
    }


def _expects_ours(call: ast.expr, ours: set[str]) -> bool:
    if not isinstance(call, ast.Call) or ast.unparse(call.func) != "pytest.raises":
        return False
    raised = call.args[0]
    names = {ast.unparse(kind) for kind in getattr(raised, "elts", [raised])}
    return any(  # a test's parameter may be any
        name in ours or name.startswith("conduit_nb.") or name.islower() for name in names
    )


def _unescaped(found: re.Match[str]) -> str:
    return " " if found["char"] == "s" else found["char"]


def test_every_test_that_interrupts_itself_is_interruptible():
    ours = re.compile(r"kill\((os\.getpid|threading\.main_thread)\(\).*signal\.SIGINT")
    senders = [name for name, text in texts() if name.startswith("tests/") and ours.search(text)]

    assert len(senders) >= 3
    assert not [name for name in senders if "interruptible" not in (ROOT / name).read_text()]


def test_every_dependency_is_pinned():
    project = _project()
    groups = project["dependency-groups"].values()
    extras = project["project"]["optional-dependencies"].values()
    wanted = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    wanted += [one for group in [*groups, *extras] for one in group if isinstance(one, str)]
    pinned = {
        _normal(line.split("==")[0])
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }

    assert not {_normal(re.split(r"[\[<>=~! ]", one)[0]) for one in wanted} - pinned


def _normal(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package).lower()


def test_constraints_hold_versions_and_nothing_else():
    lines = (ROOT / "constraints.txt").read_text().splitlines()

    assert not [line for line in lines if not re.fullmatch(r"#.*|[\w.-]+==[\w.]+", line)]


def test_ci_runs_the_readmes_test_command():
    script = ROOT / ".ci/run"

    assert "make test" in script.read_text()
    assert re.search(r"^make test\b", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert os.access(script, os.X_OK)


def workflow() -> dict[str, Any]:
    """Return what GitHub is told to run."""
    return yaml.safe_load(WORKFLOW.read_text())


def test_github_runs_the_tests_on_every_python_that_conduit_runs_on():
    job = workflow()["jobs"]["test"]
    classified = re.findall(r"Python :: (3\.\d+)", "\n".join(_project()["project"]["classifiers"]))

    assert job["strategy"]["matrix"]["python"] == classified
    assert job["container"]["image"] == "python:${{ matrix.python }}-bookworm"
    assert job["steps"][-1]["run"] == "make test PYTHON=python${{ matrix.python }}"


def test_github_runs_nothing_that_is_not_in_the_makefile():
    makefile = (ROOT / "Makefile").read_text()
    steps = [step for job in workflow()["jobs"].values() for step in job["steps"]]
    run = "\n".join(step.get("run", "") for step in steps)

    targets = set(re.findall(r"make (\w+)", run))
    assert targets == {"setup", "test", "soak"}
    assert targets <= set(re.findall(r"^(\w+):", makefile, re.MULTILINE))
    assert set(re.findall(r"(\w+)=", run)) == {"PYTHON"}
    assert "\nPYTHON ?= " in makefile
    assert workflow()["env"]["TORCH_INDEX"] == "${{ vars.TORCH_INDEX }}"
    assert workflow()["env"]["CI"] == "true"


def test_what_github_uses_is_pinned():
    used = re.findall(r"uses: (\S+)", WORKFLOW.read_text())

    assert used
    assert not [one for one in used if not re.fullmatch(r"[\w./-]+@(v\d+|[0-9a-f]{40})", one)]


@pytest.mark.parametrize("name", [".github/workflows/ci.yml", "README.md"])
def test_the_pythons_that_were_not_tried_with_torch_are_named(name: str):
    text = " ".join((ROOT / name).read_text().replace("#", " ").split())

    assert "PyTorch on Python 3.12 and 3.13" in text


def _project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())
