"""The set-up: versions that agree with one another, and `make` when something is in its way.

The `make` tests run the real Makefile and tools in a copy of the checkout. Nothing is installed:
stand-ins for `venv`, `pip` and `uv` come first on PYTHONPATH and do what each test wants.
"""

import importlib.metadata
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import chromium
import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
OLDEST_PYTHON = PROJECT["project"]["requires-python"].removeprefix(">=")
CONDA_NAMES = {"torch": "pytorch-cpu", "matplotlib": "matplotlib-base"}


def requirements(*extras):
    """The requirements of pyproject.toml: the core's, and those of some extras."""
    project = PROJECT["project"]
    lists = [project["dependencies"], *(project["optional-dependencies"][e] for e in extras)]
    return [Requirement(line) for lines in lists for line in lines]


def pins():
    """What constraints.txt pins, as {name: version}."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    lines = [line for line in lines if line and not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
    found = {canonicalize_name(name): version for name, version in (x.split("==") for x in lines)}
    assert len(found) == len(lines), "a package is pinned twice"
    return found


# -- versions ---------------------------------------------------------------------------------


def test_conda_environment_is_the_core_and_the_lab():
    *lines, by_pip = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    found = {(r := Requirement(re.sub(r"(?<![<>=!])=(?!=)", "==", x))).name: r for x in lines}
    python = str(found.pop("python").specifier).removeprefix("==")
    assert python in SpecifierSet(PROJECT["project"]["requires-python"])
    found.pop("pip")
    wanted = {CONDA_NAMES.get(r.name, r.name): r.specifier for r in requirements("lab")}
    assert {name: r.specifier for name, r in found.items()} == wanted
    assert by_pip == {"pip": ["-e .[compare]"]}  # bm3d is not on conda-forge


def test_pins_are_within_the_bounds_of_the_project():
    pinned = pins()
    every = requirements(*PROJECT["project"]["optional-dependencies"])
    every += map(Requirement, PROJECT["build-system"]["requires"])
    for requirement in every:
        assert pinned[canonicalize_name(requirement.name)] in requirement.specifier


def installed():
    """Installed packages by name, or a skip where the extras are not all there."""
    found = {canonicalize_name(d.metadata["Name"]): d for d in importlib.metadata.distributions()}
    for requirement in requirements(*PROJECT["project"]["optional-dependencies"]):
        if canonicalize_name(requirement.name) not in found:
            skip(f"{requirement.name} is not installed")
    return found


def skip(reason):
    """Skip a test; but in CI, where everything that a test needs must be there, fail it."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


@pytest.mark.parametrize(
    ("sys_platform", "os_name", "platform_system"),
    [("linux", "posix", "Linux"), ("darwin", "posix", "Darwin"), ("win32", "nt", "Windows")],
)
def test_all_that_is_needed_is_pinned(sys_platform, os_name, platform_system):
    """Walk from the project through what each package requires on that system."""
    system = default_environment() | {
        "sys_platform": sys_platform,
        "os_name": os_name,
        "platform_system": platform_system,
    }
    pinned, known = pins(), installed()
    todo = requirements(*PROJECT["project"]["optional-dependencies"])
    seen = set()
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        if (name, *sorted(requirement.extras)) in seen or re.match("nvidia|cuda|triton", name):
            continue  # the packages of torch's GPU builds come with the build that is chosen
        seen.add((name, *sorted(requirement.extras)))
        assert name in pinned
        for line in known[name].requires or [] if name in known else []:
            needed = Requirement(line)
            extras = requirement.extras or {""}
            if not needed.marker or any(
                needed.marker.evaluate(system | {"extra": e}) for e in extras
            ):
                todo.append(needed)


def test_pins_install_on_the_oldest_python():
    known = installed()
    for name, version in pins().items():
        package = known.get(name)
        if package and package.version.split("+")[0] == version:
            needs = SpecifierSet(package.metadata.get("Requires-Python") or "")
            assert f"{OLDEST_PYTHON}.0" in needs, f"{name} {version} needs Python {needs}"


def test_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == PROJECT["project"]["version"]
    assert citation["license"] == PROJECT["project"]["license"]


def test_ci_runs_the_test_command_of_the_readme():
    *_, last = (ROOT / ".ci/run").read_text().splitlines()
    assert last == "exec make test"
    assert "make test" in (ROOT / "README.md").read_text(encoding="utf-8")


# -- .ci/run ----------------------------------------------------------------------------------

debian_only = pytest.mark.skipif(sys.platform != "linux", reason=".ci/run is for Debian")
posix = pytest.mark.skipif(os.name == "nt", reason="the stand-ins are made for a POSIX shell")
TOOLS = ("sh", "bash", "dirname", "env", "touch", "chmod", "mkdir")  # of any Debian
# Each package makes a stand-in for what the real one brings.
APT_GET = r"""
program() { printf '#!/bin/bash\n%s\n' "$2" > "$HERE/bin/$1"; chmod +x "$HERE/bin/$1"; }
echo "$@" >> "$HERE/apt-get.txt"
for package in "$@"; do
    case $package in
        python3) program python3 \
            'case $2 in *ensurepip*) [ -e $HERE/venv ] ;; *) echo $HERE/include ;; esac' ;;
        python3-venv) touch "$HERE/venv" ;;
        python3-dev) mkdir "$HERE/include"; touch "$HERE/include/Python.h" ;;
        make) program make 'echo make "$@" CI=$CI browser=$DIPLEARN_BROWSER' ;;
        $BROKEN) ;;
        g++ | chromium | google-chrome) program "$package" ;;
        -* | DPkg::* | update | install) ;;
        *) echo "E: Unable to locate package $package" >&2; exit 100 ;;
    esac
done
"""


class Debian:
    """A PATH on which there are only the commands that every Debian has, and our apt-get."""

    def __init__(self, folder):
        self.folder, self.bin = folder, folder / "bin"
        self.bin.mkdir()
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool))
        self.command("apt-get", APT_GET)
        self.command("id", "echo 0")  # root

    def command(self, name, script):
        """Put a bash script on the PATH, in place of what is there."""
        (self.bin / name).unlink(missing_ok=True)
        (self.bin / name).write_text(f"#!/bin/bash\n{script}\n")
        (self.bin / name).chmod(0o755)

    def install(self, *packages):
        """Install packages beforehand, and forget that it was done."""
        subprocess.run([self.bin / "apt-get", *packages], env=self.env(), check=True)
        (self.folder / "apt-get.txt").unlink()

    def env(self, **more):
        return {"PATH": str(self.bin), "HERE": str(self.folder), "BROKEN": "nothing"} | more

    def run(self, **env):
        """Run .ci/run; return its exit status, stdout, stderr and what apt-get was told to add."""
        done = subprocess.run(
            [ROOT / ".ci/run"], env=self.env(**env), capture_output=True, text=True, timeout=60
        )
        try:
            asked = (self.folder / "apt-get.txt").read_text().splitlines()
        except FileNotFoundError:
            return done.returncode, done.stdout, done.stderr, None
        assert "update" in asked[0] and len(asked) == 2
        return done.returncode, done.stdout, done.stderr, asked[1].split("recommends ")[1].split()


EVERYTHING = ["make", "python3", "python3-venv", "g++", "python3-dev", "chromium"]


@pytest.fixture
def debian(tmp_path):
    return Debian(tmp_path)


@debian_only
def test_ci_on_a_machine_that_has_nothing(debian):
    """The browser is handed on as a path, though it was not there when the script began."""
    status, out, err, asked = debian.run()
    assert (status, err, asked) == (0, "", EVERYTHING)
    assert out == f"make test CI=true browser={debian.bin}/chromium\n"


@debian_only
@pytest.mark.parametrize(
    ("there", "not_asked"),
    [
        ("make", "make"),
        ("g++", "g++"),
        ("chromium", "chromium"),
        ("google-chrome", "chromium"),
        ("python3", ""),  # without its venv it is of no use
        ("python3 python3-venv", "python3 python3-venv"),
        ("python3 python3-dev", "python3-dev"),
    ],
)
def test_ci_installs_only_what_is_missing(debian, there, not_asked):
    debian.install(*there.split())
    status, out, _, asked = debian.run()
    assert status == 0 and "make test" in out
    assert asked == [package for package in EVERYTHING if package not in not_asked.split()]


@debian_only
def test_ci_looks_into_the_python_that_make_will_use(debian):
    debian.install(*EVERYTHING)
    (debian.bin / "python3").rename(debian.bin / "python3.12")
    debian.command("python3", "exit 127")  # as a version manager's that has no version
    assert debian.run()[::3] == (0, None)


@debian_only
def test_ci_installs_with_sudo_where_it_is_not_root(debian):
    debian.command("id", "echo 1000")
    debian.command("sudo", 'echo sudo >> $HERE/sudo.txt; exec "$@"')
    assert debian.run()[0] == 0
    assert (debian.folder / "sudo.txt").read_text() == "sudo\n" * 2


@debian_only
@pytest.mark.parametrize("browser", ["chromium", "google-chrome"])
def test_ci_installs_nothing_where_all_is_there(debian, browser):
    debian.install(*EVERYTHING[:-1], browser)
    path = f"{debian.bin}/{browser}"
    for named in ("", browser, path):
        status, out, _, asked = debian.run(DIPLEARN_BROWSER=named)
        assert (status, asked) == (0, None)
        assert out == f"make test CI=true browser={path}\n"


@debian_only
def test_ci_installs_the_browser_that_is_named(debian):
    debian.install(*EVERYTHING)
    status, out, _, asked = debian.run(DIPLEARN_BROWSER="google-chrome")
    assert (status, asked) == (0, ["google-chrome"])
    assert out == f"make test CI=true browser={debian.bin}/google-chrome\n"


@debian_only
def test_ci_ends_where_the_browser_that_is_named_cannot_be_installed(debian):
    status, out, err, _ = debian.run(DIPLEARN_BROWSER="nowhere")
    assert (status, out, err) == (100, "", "E: Unable to locate package nowhere\n")


@debian_only
@pytest.mark.parametrize("broken", ["chromium", "g++"])
def test_ci_ends_where_an_installation_brings_nothing(debian, broken):
    status, out, err, _ = debian.run(BROKEN=broken)
    assert status != 0 and "make test" not in out
    assert err == f"Installed, but not found: {broken}\n"


# -- the browser ------------------------------------------------------------------------------


@posix
def test_the_browser_may_be_a_name_or_a_path(debian, monkeypatch):
    monkeypatch.setenv("PATH", str(debian.bin))
    monkeypatch.setenv("DIPLEARN_BROWSER", "")
    assert chromium.find() is None
    debian.install("chromium", "google-chrome")
    for named, found in [("", "chromium"), ("google-chrome", "google-chrome")]:
        monkeypatch.setenv("DIPLEARN_BROWSER", named)
        assert chromium.find() == f"{debian.bin}/{found}"
    monkeypatch.setenv("DIPLEARN_BROWSER", f"{debian.bin}/google-chrome")
    assert chromium.find() == f"{debian.bin}/google-chrome"
    monkeypatch.chdir(debian.folder)
    monkeypatch.setenv("DIPLEARN_BROWSER", "bin/chromium")
    assert chromium.find() == f"{debian.bin}/chromium"


@posix
def test_a_browser_that_is_not_there_is_an_error(debian, monkeypatch):
    (debian.folder / "no-program").touch()
    for named in ("nowhere", "/no/such/program", f"{debian.folder}/no-program"):
        monkeypatch.setenv("DIPLEARN_BROWSER", named)
        with pytest.raises(pytest.UsageError, match=f"DIPLEARN_BROWSER={named} is no program: "):
            chromium.find()


# -- make -------------------------------------------------------------------------------------

VENV = """
if __name__ == "__main__":
    import os, sys
    os.makedirs(sys.argv[1] + "/bin")
    os.symlink(sys.executable, sys.argv[1] + "/bin/python")
"""
# pip and uv: note how they were called, then fail as they were told to. The texts are pip's own.
INSTALLER = """
import os, sys, time
tool = os.path.basename(__file__)[:-3]
with open(os.environ["CALLS"], "a") as calls:
    print(tool, *sys.argv[1:], file=calls)
trouble = os.environ.get(tool)
if trouble == "offline":
    sys.exit("WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError("
             "'[Errno -3] Temporary failure in name resolution')': /simple/torch/")
if trouble == "full disk":
    sys.exit("ERROR: Could not install packages due to an OSError: "
             "[Errno 28] No space left on device")
if trouble == "no build" or trouble == "no cpu build" and sys.argv[-1].endswith("+cpu"):
    sys.exit("ERROR: No matching distribution found for " + sys.argv[-1])
if trouble == "slow":
    time.sleep(60)
"""


class Checkout:
    """A copy of what `make` needs, in a folder with a space, and a PATH of its own."""

    def __init__(self, folder):
        self.root, self.bin, self.modules = folder / "my course", folder / "bin", folder / "modules"
        for path in (self.root, self.bin, self.modules):
            path.mkdir()
        for name in ("Makefile", "pyproject.toml", "constraints.txt"):
            shutil.copy(ROOT / name, self.root)
        shutil.copytree(ROOT / "tools", self.root / "tools")
        self.calls = folder / "calls.txt"
        self.stamp = self.root / ".venv/made-from.txt"
        for name, code in {"venv": VENV, "pip": INSTALLER, "uv": INSTALLER}.items():
            self.module(name, code)
        self.command("python3", f'exec "{sys.executable}" "$@"')

    def command(self, name, script):
        """Put a shell script on the PATH."""
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def module(self, name, code):
        """Put a module before Python's own."""
        (self.modules / f"{name}.py").write_text(code)

    def start(self, *words, **env):
        """Start make with nothing of this process's environment."""
        own = {"PATH": str(self.bin), "PYTHONPATH": str(self.modules), "CALLS": str(self.calls)}
        return subprocess.Popen(
            [shutil.which("make"), *words],
            cwd=self.root,
            env=own | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # it is ignored where tests run unattended
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def make(self, *words, **env):
        """Run make; return its exit status, stdout and stderr."""
        process = self.start(*words, **env)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def complaint(self, *words, **env):
        """Run make, which must fail with one sentence: return that."""
        status, _, err = self.make(*words, **env)
        assert status != 0
        return one_sentence(err)


def one_sentence(err):
    lines = [line for line in err.splitlines() if not line.startswith("make: ***")]
    assert len(lines) == 1, err
    assert lines[0].endswith(".") and "Errno" not in lines[0]
    return lines[0]


@pytest.fixture
def checkout(tmp_path):
    if not shutil.which("make"):
        skip("make is not on PATH")
    return Checkout(tmp_path)


@posix
@pytest.mark.parametrize("command", ["lab", "test", "notebooks", "lint"])
def test_no_python(checkout, command):
    (checkout.bin / "python3").unlink()
    assert "No Python was found" in checkout.complaint(command)


@posix
def test_old_python(checkout):
    checkout.module("sitecustomize", "import sys; sys.version_info = (3, 8, 18, 'final', 0)")
    said = checkout.complaint("lab")
    assert f"Python {OLDEST_PYTHON} or newer is needed, but python3 is Python 3.8" in said


@posix
def test_a_python_that_does_not_run_is_passed_over(checkout):
    (checkout.bin / "python3").rename(checkout.bin / "python3.12")
    checkout.command("python3", "echo 'no such version' >&2; exit 127")
    assert checkout.make("env")[0] == 0
    assert checkout.stamp.exists()


@posix
def test_a_named_python_is_the_only_one_tried(checkout):
    assert "PYTHON=nowhere does not run" in checkout.complaint("lab", "PYTHON=nowhere")


@posix
@pytest.mark.parametrize("module", ["venv", "ensurepip"])
def test_no_venv_module(checkout, module):
    checkout.module(module, "raise ImportError('as on Debian without python3-venv')")
    assert "has no venv module" in checkout.complaint("lab")
    assert not checkout.stamp.parent.exists()


@posix
def test_too_little_room_to_begin(checkout):
    usage = "shutil._ntuple_diskusage(total=9e12, used=8.999e12, free=1e9)"
    checkout.module("sitecustomize", f"import shutil; shutil.disk_usage = lambda _: {usage}")
    assert "The disk is full" in checkout.complaint("lab")
    assert not checkout.stamp.parent.exists() and not checkout.calls.exists()


@posix
@pytest.mark.parametrize(
    ("trouble", "sentence"),
    [
        ("full disk", "The disk is full"),
        ("offline", "cannot be reached: check the network"),
        ("no build", "has no build for Python"),
    ],
)
def test_trouble_while_installing(checkout, trouble, sentence):
    assert sentence in checkout.complaint("lab", pip=trouble)
    assert not checkout.stamp.parent.exists()


@posix
def test_one_set_up_serves_until_something_changes(checkout):
    assert checkout.make("env")[0] == 0
    calls = checkout.calls.read_text()
    assert f"torch=={pins()['torch']}" in calls and "--editable .[lab,compare,cluster,dev]" in calls
    assert all("--constraint" in call for call in calls.splitlines())

    assert checkout.make("env", pip="full disk")[0] == 0, "the second call must install nothing"
    assert checkout.calls.read_text() == calls

    with (checkout.root / "constraints.txt").open("a") as constraints:
        constraints.write("# another version\n")
    (checkout.root / ".venv/leftover").touch()
    assert checkout.make("env")[0] == 0
    assert checkout.calls.read_text() == 2 * calls
    assert not (checkout.root / ".venv/leftover").exists()


@posix
def test_an_interrupted_set_up_is_begun_anew(checkout):
    process = checkout.start("lab", pip="slow")
    while not checkout.calls.exists():
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C in a terminal does
    assert "interrupted" in one_sentence(process.communicate(timeout=20)[1])
    assert checkout.stamp.read_text() == "unfinished"

    (checkout.root / ".venv/half").touch()
    assert checkout.make("env")[0] == 0
    assert not (checkout.root / ".venv/half").exists()
    assert checkout.stamp.read_text() != "unfinished"


@posix
def test_a_venv_of_somebody_else_is_left_alone(checkout):
    (checkout.root / ".venv").mkdir()
    (checkout.root / ".venv/theirs").touch()
    assert "was not made by make" in checkout.complaint("lab")
    assert (checkout.root / ".venv/theirs").exists()


@posix
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a CPU build of its own")
def test_cpu_build_through_uv_where_pip_has_none(checkout):
    wanted = f"--torch-backend cpu torch=={pins()['torch']}\n"
    assert checkout.make("env", pip="no cpu build")[0] == 0
    uv = [call for call in checkout.calls.open() if call.startswith("uv")]
    assert len(uv) == 1 and uv[0].endswith(wanted) and "--constraint" in uv[0]


@posix
def test_another_build_of_torch(checkout):
    assert checkout.make("env", "TORCH=cu130")[0] == 0
    assert "--torch-backend cu130" in checkout.calls.read_text()
    assert "cannot be reached" in checkout.complaint("env", "TORCH=auto", uv="offline")


def test_make_lab_shows_the_first_lesson():
    """For real, in the `.venv` that this runs in: the page and the lesson answer."""
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        import setup_env
        import smoke_lab
    finally:
        sys.path.pop(0)
    if Path(sys.prefix) != setup_env.VENV or not setup_env.ready():
        skip("these tests do not run in the .venv that `make test` makes")
    smoke_lab.smoke(limit=60, PYTHON=sys.executable)
