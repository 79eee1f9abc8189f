# SPDX-License-Identifier: BSD-3-Clause
"""What stands in several places is the same in all: versions, dates, requirements, platforms, extras.

And the checks of what is published find what they are for: of a wheel, of the files of a release, of its tag.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import zipfile
from importlib.metadata import version as installed
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import check_release  # noqa: E402
import check_wheel  # noqa: E402
from check_release import PYPROJECT, VERSION  # noqa: E402

PROJECT = PYPROJECT["project"]
EXTRAS = PROJECT["optional-dependencies"]
BUILD = PYPROJECT["build-system"]["requires"]
EIGEN = next(needed for needed in BUILD if "eigen" in needed).partition("==")[2]


def text_of(name):
    return (ROOT / name).read_text()


def yaml_of(name):
    return yaml.safe_load(text_of(name))


# --- the same in all places ----------------------------------------------------------------------


def test_the_version_is_everywhere_the_same():
    assert yaml_of("CITATION.cff")["version"] == VERSION
    assert yaml_of("tools/conda/recipe.yaml")["context"]["version"] == VERSION
    assert f"## {VERSION} (" in text_of("CHANGELOG.md")
    assert f"Eigen {EIGEN}\n" in text_of("THIRD_PARTY_NOTICES")


PRINTED = re.compile(r"^\s*fastcka (\d+\.\d+\.\d+)", flags=re.M)  # the last line of a printed CKAMatrix


def test_examples_print_this_version():
    pages = [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("src/fastcka/**/*.py")]
    printed = {page: PRINTED.findall(page.read_text()) for page in pages}
    assert not [page for page, versions in printed.items() if set(versions) - {VERSION}]
    assert sum(map(len, printed.values())) > 5


def test_a_release_has_one_date():
    """An unreleased version has none."""
    (written,) = re.findall(rf"^## {re.escape(VERSION)} \((.*)\)$", text_of("CHANGELOG.md"), flags=re.M)
    assert str(yaml_of("CITATION.cff").get("date-released", "unreleased")) == written


def test_the_conda_recipe_needs_what_the_package_needs():
    recipe = yaml_of("tools/conda/recipe.yaml")
    requirements = {where: listed(needs) for where, needs in recipe["requirements"].items()}
    ranges = {needed: Requirement(needed) for needed in [*BUILD, *PROJECT["dependencies"]]}
    for needed in ranges.values():
        if needed.name == "cmeel-eigen":  # the wheel of Eigen's headers: conda has Eigen itself
            assert f"eigen {EIGEN.rpartition('.')[0]}.*" in requirements["host"]
            continue
        where = "host" if str(needed) in map(str, map(Requirement, BUILD)) else "run"
        found = [Requirement(line.replace(" ", "")) for line in requirements[where] if "eigen" not in line]
        assert needed in found, f"{where} of the recipe lacks {needed}"
    oldest = PROJECT["requires-python"].removeprefix(">=")
    assert f'match(python, "<{oldest}")' in recipe["build"]["skip"]
    about = recipe["about"]
    assert about["homepage"] == about["repository"] == PROJECT["urls"]["Homepage"]
    assert about["documentation"] == PROJECT["urls"]["Documentation"]
    assert (about["summary"], about["license"]) == (PROJECT["description"], PROJECT["license"])
    licences = {
        str(path.relative_to(ROOT)) for pattern in PROJECT["license-files"] for path in ROOT.glob(pattern)
    }
    assert set(about["license_file"]) == licences


def listed(needs):
    """The requirements of a recipe, those under a condition among them."""
    plain = [need for need in needs if isinstance(need, str)]
    under = [need["then"] for need in needs if isinstance(need, dict)]
    return plain + [need for then in under for need in ([then] if isinstance(then, str) else then)]


def test_the_recipe_without_a_network_downloads_what_a_build_needs():
    (line,) = re.findall(r"^pip download (.*) --dest", text_of("docs/clusters.md"), flags=re.M)
    downloaded = set(line.replace('"', "").split())
    assert downloaded == {*BUILD, *PROJECT["dependencies"], "cmake", "ninja"}


def test_hosted_wheels_are_those_of_a_release():
    jobs = yaml_of(".github/workflows/wheels.yml")["jobs"]["wheels"]["strategy"]["matrix"]["include"]
    built = sorted(f"{job['build']}*_{processor_of(job['runner'])}" for job in jobs)
    assert built == sorted(check_release.PLATFORMS)


def processor_of(runner):
    return "arm64" if runner.startswith("macos") else "aarch64" if runner.endswith("-arm") else "x86_64"


def test_classifiers_are_the_versions_of_the_wheels():
    pythons = [build.removesuffix("-*") for build in PYPROJECT["tool"]["cibuildwheel"]["build"]]
    free_threaded = any(python.endswith("t") for python in pythons)
    named = {f"Programming Language :: Python :: 3.{python[3:]}" for python in pythons if python[-1] != "t"}
    classified = {line for line in PROJECT["classifiers"] if "Python :: 3." in line}
    assert classified == named
    assert any("Free Threading" in line for line in PROJECT["classifiers"]) == free_threaded


def test_hosted_workflows_run_the_tasks_of_ci():
    script = text_of(".ci/run")
    (steps,) = re.findall(r"^steps=\((.*?)\)$", script, flags=re.S | re.M)
    of_its_own = set(re.findall(r"^(\w+)\(\) \{", script, flags=re.M))
    hosted = yaml_of(".github/workflows/tests.yml")["jobs"]["nox"]["strategy"]["matrix"]["include"]
    elsewhere = {"docs", "wheels"}  # workflows of their own
    missing = set(shlex.split(steps)) - of_its_own - elsewhere - {job["session"] for job in hosted}
    assert not missing


# --- extras --------------------------------------------------------------------------------------


def test_extras_that_pages_and_messages_name_exist():
    patterns = ("README.md", "CONTRIBUTING.md", "docs/*.md", "examples/*.py", "src/fastcka/**/*.py")
    text = "\n".join(path.read_text() for pattern in patterns for path in ROOT.glob(pattern))
    named = re.findall(r"(?:fastcka|\"\.)\[([\w,-]+)\]", text)
    assert {extra for names in named for extra in names.split(",")} <= EXTRAS.keys()


def test_the_quickstart_has_every_extra():
    table = text_of("docs/quickstart.md").partition("| extra | for |\n")[2].partition("\n\n")[0]
    rows = [line.split("|")[1] for line in table.splitlines()]
    assert {extra for row in rows for extra in re.findall(r"`([\w-]+)`", row)} == EXTRAS.keys()


def test_all_extras_of_users_go_together():
    """They are what "all" means; and here, where the tests run, each has a version that all of them allow."""
    (everything,) = EXTRAS["all"]
    assert Requirement(everything).extras == EXTRAS.keys() - {"all", "bench", "test", "test-torch"}
    for needed in needed_by("all"):
        assert needed.specifier.contains(installed(needed.name), prereleases=True), needed


def needed_by(extra):
    for needed in map(Requirement, EXTRAS[extra]):
        if needed.name == PROJECT["name"]:
            for inner in needed.extras:
                yield from needed_by(inner)
        else:
            yield needed


# --- what checks a release -----------------------------------------------------------------------

LIBGOMP = "fastcka.libs/libgomp-1a2b3c4d.so.1.0.0"
SOUND = [*(f"fastcka/{name}" for name in check_wheel.EXPECTED), "fastcka/_core.so", LIBGOMP]
VERSIONS = ["OMP_4.5", "GOMP_5.0", "OMP_5.0"]  # of symbols; the last came with GCC 9


@pytest.fixture
def wheel_of(tmp_path):
    """A function that makes a wheel of such files, with a small module and a small libgomp."""

    def make(files, platform="manylinux_2_28_x86_64", exported=("PyInit__core",), versions=VERSIONS):
        script = "".join(f"{name} {{ global: f{i}; }};\n" for i, name in enumerate(versions))
        module = compiled(tmp_path / "module.so", exported)
        libgomp = compiled(tmp_path / "libgomp.so", [f"f{i}" for i in range(len(versions))], script)
        path = tmp_path / f"fastcka-{VERSION}-cp311-cp311-{platform}.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for file in files:
                content = libgomp if "libgomp" in file else module if file.endswith(".so") else b""
                archive.writestr(file, content)
        return path

    return make


def compiled(path, functions, script=""):
    """The bytes of a library with these functions, and symbol versions as in this script of the linker."""
    options = ["-shared", "-fPIC", "-o", path]
    if script:
        path.with_suffix(".map").write_text(script)
        options.append(f"-Wl,--version-script={path.with_suffix('.map')}")
    source = "".join(f"void {function}(void) {{}}\n" for function in functions)
    subprocess.run(["cc", *options, "-x", "c", "-"], input=source, text=True, check=True)
    return path.read_bytes()


@pytest.mark.parametrize("platform", ["manylinux_2_28_x86_64", "musllinux_1_2_aarch64"])
def test_a_sound_wheel_has_no_faults(wheel_of, platform):
    assert check_wheel.faults_of(wheel_of(SOUND, platform)) == []


@pytest.mark.parametrize(
    ("files", "fault"),
    [
        (SOUND[:-1], "exactly one libgomp is expected, found []"),
        (
            [*SOUND, "fastcka.libs/libgomp-2.so.1"],
            "exactly one libgomp is expected, found ['libgomp-1a2b3c4d",
        ),
        (SOUND[1:], "missing ['"),
        ([*SOUND, "fastcka/core.hpp"], "foreign ['fastcka/core.hpp']"),
        ([*SOUND, "tests/test_cka.py"], "foreign ['tests/test_cka.py']"),
        ([*SOUND, "fastcka/_core.other.so"], "compiled modules ["),
    ],
)
@pytest.mark.parametrize("platform", ["manylinux_2_28_x86_64", "musllinux_1_2_x86_64"])
def test_a_faulty_wheel_is_found(wheel_of, platform, files, fault):
    (found,) = check_wheel.faults_of(wheel_of(files, platform))
    assert fault in found


def test_a_module_that_exports_more_is_found(wheel_of):
    (found,) = check_wheel.faults_of(wheel_of(SOUND, exported=["PyInit__core", "cblas_sgemm"]))
    assert found == "the module exports ['cblas_sgemm']"


def test_the_libgomp_of_an_old_compiler_is_found(wheel_of):
    (found,) = check_wheel.faults_of(wheel_of(SOUND, versions=VERSIONS[:-1]))
    assert "is too old: no symbols of version OMP_5.0" in found


@pytest.mark.parametrize("platform", ["macosx_13_0_arm64", "linux_x86_64"])
def test_wheels_that_bundle_no_libgomp(wheel_of, platform):
    assert check_wheel.faults_of(wheel_of(SOUND[:-1], platform)) == []


def whole_release():
    return [pattern.replace("*", "_9_9") for pattern in check_release.expected_files()]


def test_the_files_of_a_release():
    whole = whole_release()
    assert len(whole) == 1 + 7 * 5
    assert check_release.faults_of_files(whole) == []
    assert f"0 files are fastcka-{VERSION}.tar.gz" in check_release.faults_of_files(whole[1:])
    assert len(check_release.faults_of_files(whole[:-1])) == 1
    assert check_release.faults_of_files([*whole, "notes.txt"]) == ["notes.txt is not part of a release"]
    (doubled,) = check_release.faults_of_files([*whole, whole[1].replace("_9_9", "_9_8")])
    assert doubled.startswith("2 files are ")


def test_the_exit_status_is_that_of_the_check(tmp_path):
    command = [sys.executable, ROOT / "tools" / "check_release.py", "--files", tmp_path]
    for name in whole_release():
        (tmp_path / name).touch()
    assert subprocess.run(command).returncode == 0
    (tmp_path / name).unlink()
    assert subprocess.run(command).returncode == 1


def test_the_tag_of_a_release(tmp_path, monkeypatch):
    monkeypatch.setattr(check_release, "ROOT", tmp_path)
    changes = tmp_path / "CHANGELOG.md"
    changes.write_text(f"# Changelog\n\n## {VERSION} (2030-02-01)\n")
    assert check_release.faults_of_tag(f"v{VERSION}") == []
    assert check_release.faults_of_tag("v9.9.9") == [f"the tag is v9.9.9, the version {VERSION}"]
    changes.write_text(f"# Changelog\n\n## {VERSION} (unreleased)\n")
    assert check_release.faults_of_tag(f"v{VERSION}") == [f"CHANGELOG.md has no date for {VERSION}"]
