"""Files written whole or not at all, whatever is in the way, and nothing left behind."""

import contextlib
import errno
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import pytest

from diplearn import files
from diplearn.errors import InputError

not_on_windows = pytest.mark.skipif(
    os.name == "nt", reason="Windows has other names, permissions and links"
)


def python(code, *arguments, **options):
    """Start Python on this code, `folder` being the first argument."""
    begin = "import os, sys; from pathlib import Path; from diplearn.files import replacing\n"
    begin += "folder = Path(sys.argv[1])\n"
    return subprocess.Popen(
        [sys.executable, "-c", begin + code, *map(str, arguments)],
        stdout=subprocess.PIPE, text=True, **options,
    )  # fmt: skip


def output(process):
    """Wait for a process, which must end well, and return what it printed."""
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return printed


def save(path, text="new"):
    with files.replacing(path) as temporary:
        temporary.write_text(text)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@contextlib.contextmanager
def without_roots_rights():
    """Let the block run as a user to whom permissions apply."""
    if os.geteuid():
        yield
    else:
        try:
            os.setresuid(65534, 65534, 0)
        except OSError:
            pytest.skip("this root has no other users")
        try:
            yield
        finally:
            os.setresuid(0, 0, 0)


@pytest.fixture
def public():
    """A folder that every user may write, in a folder that every user may enter."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        yield Path(folder)


# What a save leaves.


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(type(error) if isinstance(error, OSError) else error):
        with files.replacing(path) as temporary:
            temporary.write_text("new")
            assert path.read_text() == "old"
            raise error
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


LONG = "x" * 251 + ".txt"


@not_on_windows
@pytest.mark.parametrize(
    "name", [LONG, "a." + "x" * 253, "." + "x" * 254, "two\nlines.txt", "\udcff.txt", "ä.png"]
)
def test_any_name_that_a_disk_takes(tmp_path, name):
    path = tmp_path / name
    files.check_writable(path)
    save(path)
    save(path, "newer")
    assert names(tmp_path) == [name] and path.read_text() == "newer"


def test_the_temporary_file_has_the_suffix_and_is_hidden(tmp_path):
    with files.replacing(tmp_path / "a.b.jpeg") as temporary:
        assert temporary.suffix == ".jpeg" and temporary.name.startswith(".diplearn-")


UMASKS = """
import contextlib, json
if os.geteuid() == 0:  # root may write into a file that has no permissions at all
    with contextlib.suppress(OSError):
        os.setuid(65534)
modes = []
for umask in (0o000, 0o002, 0o022, 0o027, 0o077, 0o277, 0o777):
    os.umask(umask)
    plain, saved = folder / f"{umask:o}", folder / f"{umask:o}.txt"
    plain.touch()
    with replacing(saved) as temporary:
        temporary.write_text("new")
    modes.append((plain.stat().st_mode, saved.stat().st_mode))
    os.umask(0o777)
    if plain.stat().st_mode & 0o200:
        with replacing(plain) as temporary:
            temporary.write_text("new")
    modes.append((modes[-1][0], plain.stat().st_mode))
print(json.dumps(modes))
"""


@not_on_windows
def test_a_new_file_has_the_permissions_that_open_gives(public):
    """Under any umask; and a file that is replaced keeps its own."""
    modes = json.loads(output(python(UMASKS, public)))
    assert [saved for _, saved in modes] == [plain for plain, _ in modes]
    assert {mode & 0o777 for mode, _ in modes} == {0o666, 0o664, 0o644, 0o640, 0o600, 0o400, 0}


THREADS = """
import threading, time
os.umask(0o077)
umask = os.umask
def slow(mask):  # whoever changes the umask, even for a moment, is caught at it
    before = umask(mask)
    time.sleep(0.01)
    return before
os.umask = slow
(folder / "opened").mkdir()
modes, at_work = set(), True
def open_files():
    while at_work:
        path = folder / "opened" / str(threading.get_ident())
        path.touch()
        modes.add(path.stat().st_mode & 0o777)
        path.unlink()
def save_files():
    for k in range(50):
        with replacing(folder / f"{threading.get_ident()}-{k}.txt") as temporary:
            modes.add(temporary.stat().st_mode & 0o777)
others = [threading.Thread(target=open_files) for _ in range(2)]
savers = [threading.Thread(target=save_files) for _ in range(4)]
for thread in others + savers:
    thread.start()
for thread in savers:
    thread.join()
at_work = False
for thread in others:
    thread.join()
modes |= {path.stat().st_mode & 0o777 for path in folder.glob("*.txt")}
print(*map(oct, modes), oct(umask(0)))
"""


@not_on_windows
def test_a_save_in_a_thread_leaves_the_umask_alone(tmp_path):
    assert output(python(THREADS, tmp_path)) == "0o600 0o77\n"


@not_on_windows
def test_a_link_is_followed_and_its_file_keeps_its_permissions(tmp_path):
    private, link, there = (tmp_path / name for name in ("private", "link", "there"))
    private.write_text("old")
    private.chmod(0o640)
    link.symlink_to(private)
    with files.replacing(link) as temporary:
        temporary.write_text("new")
        assert not temporary.stat().st_mode & 0o007
    assert link.is_symlink() and private.read_text() == "new"
    assert private.stat().st_mode & 0o777 == 0o640

    dangling = tmp_path / "dangling"
    dangling.symlink_to(there)
    files.check_writable(dangling)
    save(dangling)
    assert dangling.is_symlink() and there.read_text() == "new"


@not_on_windows
def test_a_file_that_is_replaced_keeps_its_owner(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    try:
        os.chown(path, 1234, 2345)
    except OSError:
        pytest.skip("only root may give a file away")
    save(path)
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 2345)


# What is no file.


def fifo(path):
    os.mkfifo(path)


def device(path):
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    except OSError:
        pytest.skip("only root may make a device")


def bound_socket(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


@pytest.fixture(params=["directly", "through a link", "through two links"])
def reach(request, tmp_path):
    """A function that names another path for the same thing."""

    def through(path):
        for k in range(["directly", "through a link", "through two links"].index(request.param)):
            (tmp_path / f"link{k}").symlink_to(path)
            path = tmp_path / f"link{k}"
        return path

    return through


@not_on_windows
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (fifo, "it is a pipe; name another file"),
        (device, "it is a device; name another file"),
        (bound_socket, "it is a socket; name another file"),
        (os.mkdir, "it is a folder; name a file in it"),
    ],
)
def test_what_is_no_file_is_neither_replaced_nor_read(tmp_path, monkeypatch, reach, make, words):
    monkeypatch.chdir(tmp_path)  # the name of a socket must be short
    make("thing")
    path, before = reach(tmp_path / "thing"), (tmp_path / "thing").stat()
    there = names(tmp_path)
    with pytest.raises(InputError, match=words):
        files.check_writable(path)
    with pytest.raises(InputError, match=words):
        with files.replacing(path):
            raise AssertionError("the block must not begin")
    with pytest.raises(InputError, match=f"cannot read .*: {words.split(';')[0]}; name a file"):
        files.check_readable(path)
    assert names(tmp_path) == there
    after = (tmp_path / "thing").stat()
    assert (after.st_ino, after.st_mode, after.st_mtime) == (
        before.st_ino, before.st_mode, before.st_mtime
    )  # fmt: skip


@not_on_windows
def test_standard_output_that_is_a_pipe_is_no_file():
    read, write = os.pipe()
    try:
        with pytest.raises(InputError, match="it is a pipe"):
            files.check_writable(f"/dev/fd/{write}")
    finally:
        os.close(read)
        os.close(write)


@not_on_windows
def test_links_that_lead_nowhere(tmp_path):
    circle, lost = tmp_path / "circle", tmp_path / "lost"
    circle.symlink_to(circle)
    lost.symlink_to(tmp_path / "none" / "a.png")
    for path, words in [(circle, "Too many levels"), (lost, "there is no folder .*none")]:
        with pytest.raises(InputError, match=words):
            files.check_writable(path)
        with pytest.raises(OSError):
            save(path)
    assert names(tmp_path) == ["circle", "lost"]


def test_what_can_be_read(tmp_path):
    (tmp_path / "a.dip").touch()
    files.check_readable(tmp_path / "a.dip")
    for name, words in [("a.dip/b", ""), ("\0", "null"), ("", "folder")]:
        with pytest.raises(InputError, match=f"cannot read .*{words}"):
            files.check_readable(f"{tmp_path}/{name}")
    with pytest.raises(InputError, match="there is no file .*b.dip"):
        files.check_readable(tmp_path / "b.dip")


# What is known beforehand.


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "is a folder; name a file"),
        ("none/a.png", "there is no folder"),
        ("none/../a.png", "there is no folder"),
        ("file/a.png", "cannot write"),
        ("a\0.png", "cannot write .*null"),
        ("\ud800.png", r"cannot write .*\\ud800.*surrogates"),
        ("two\nlines/a.png", r"cannot write '.*two\\nlines/a.png': there is no folder '"),
        pytest.param("x" * 5000 + ".png", "cannot write", marks=not_on_windows),
        pytest.param("x" * 256, "cannot write", marks=not_on_windows),
    ],
)
def test_what_cannot_be_written_is_known_beforehand(tmp_path, name, words):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=words):
        files.check_writable(f"{tmp_path}/{name}")
    if name != "none/../a.png":  # which is "a.png" in the end
        with pytest.raises((InputError, OSError)):
            save(f"{tmp_path}/{name}")
    assert set(names(tmp_path)) <= {"file", "a.png"}


@not_on_windows
def test_a_folder_that_refuses_new_files_is_known_beforehand(public):
    (public / "a.png").write_bytes(b"old")
    (public / "a.png").chmod(0o666)
    public.chmod(0o555)
    for path in (public / "a.png", public / "new.png"):
        with without_roots_rights():
            with pytest.raises(InputError, match=f"{path.name}: Permission denied"):
                files.check_writable(path)
            with pytest.raises(PermissionError, match=f"Permission denied: '.*/{path.name}'"):
                save(path)
    assert (public / "a.png").read_bytes() == b"old" and names(public) == ["a.png"]


@not_on_windows
def test_a_read_only_file_is_known_beforehand(public):
    path = public / "a.png"
    path.write_bytes(b"old")
    path.chmod(0o444)
    with without_roots_rights():
        for write in (files.check_writable, save):
            with pytest.raises(InputError, match="a.png: the file is read-only"):
                write(path)
    assert path.read_bytes() == b"old" and names(public) == ["a.png"]


def test_what_can_be_written_passes_and_leaves_nothing(tmp_path, monkeypatch):
    files.check_writable(tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a.png").write_bytes(b"old")
    monkeypatch.chdir(tmp_path)
    files.check_writable("a.png")
    assert (tmp_path / "a.png").read_bytes() == b"old"
    assert names(tmp_path) == ["a.png"]


# What happens on the way.


def vanish(folder):
    shutil.rmtree(folder)


def become_a_file(folder):
    shutil.rmtree(folder)
    folder.touch()


def turn_the_name_into_a_folder(folder):
    (folder / "a.txt").mkdir()


@not_on_windows
@pytest.mark.parametrize("happens", [vanish, become_a_file, turn_the_name_into_a_folder])
def test_what_happens_to_the_folder_while_a_file_is_written(tmp_path, happens):
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(OSError) as caught:
        with files.replacing(folder / "a.txt") as temporary:
            temporary.write_text("new")
            happens(folder)
    assert caught.value.filename == str(folder / "a.txt")
    assert [path for path in tmp_path.rglob(".*")] == []


FULL_DISK = """
import resource, signal, torch
from diplearn import images
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
images.write(torch.rand(3, 100, 100, generator=torch.Generator().manual_seed(0)), folder / "a.png")
"""


@pytest.mark.parametrize(("space", "fits"), [(4096, False), (100_000, True)])
def test_on_a_full_disk_the_old_file_survives(tmp_path, space, fits):
    pytest.importorskip("resource", reason="needs the limits of a POSIX system")
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    process = python(FULL_DISK, tmp_path, space, stderr=subprocess.PIPE)
    _, complaint = process.communicate(timeout=60)
    assert (process.returncode == 0) == fits, complaint
    assert fits or "OSError" in complaint
    assert (path.read_bytes() == b"old") != fits
    assert list(tmp_path.iterdir()) == [path]


SMALL_DISK = """
from diplearn.errors import InputError
from diplearn.files import check_writable
path = folder / "a.txt"
path.write_text("old")
for k in range(int(sys.argv[2])):
    (folder / str(k)).touch()
try:
    check_writable(path)
    with replacing(path) as temporary:
        temporary.write_bytes(bytes(int(sys.argv[3])))
except (InputError, OSError) as error:
    print(type(error).__name__, error)
print(path.read_bytes()[:3], len(path.read_bytes()), [p.name for p in folder.glob(".*")])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs a small disk of its own")
@pytest.mark.parametrize(
    ("used", "size", "printed"),
    [
        (0, 10_000, r"b'\x00\x00\x00' 10000 []"),
        (0, 100_000, "OSError [Errno 28] No space left on device\nb'old' 3 []"),
        (8, 10, "InputError cannot write FOLDER/a.txt: No space left on device\nb'old' 3 []"),
    ],
)
def test_a_small_disk(tmp_path, used, size, printed):
    """Full of bytes while the file is written, or of files beforehand."""
    mount = 'mount -t tmpfs -o size=64k,nr_inodes=10 tmpfs "$1" 2>/dev/null || exit 77; shift'
    begin = "import os, sys; from pathlib import Path; from diplearn.files import replacing\n"
    code = begin + "folder = Path(sys.argv[1])\n" + SMALL_DISK
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", f'{mount}; exec "$@"', "sh", tmp_path,
         sys.executable, "-c", code, tmp_path, str(used), str(size)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    if done.returncode in (1, 77) and not done.stdout:
        pytest.skip("only root may mount a disk")
    assert done.stdout.strip() == printed.replace("FOLDER", str(tmp_path))


# What killed processes left.

SAVE_AND = """
with replacing(folder / "a.txt") as temporary:
    temporary.write_bytes(bytes(1000))
    print(temporary.name, flush=True)
    {}
"""
DIE = SAVE_AND.format("os.kill(os.getpid(), 9)")
WAIT = SAVE_AND.format("sys.stdin.read()")


def leave_one(folder):
    """Let a process be killed while it saves; return what it left."""
    process = python(DIE, folder)
    left = process.communicate(timeout=60)[0].strip()
    assert names(folder) == [left]
    return folder / left


needs_locks = pytest.mark.skipif(files.fcntl is None, reason="needs the locks of a POSIX system")


@needs_locks
def test_what_a_killed_save_left_is_gone_after_the_next(tmp_path):
    leave_one(tmp_path)
    save(tmp_path / "b.txt")
    assert names(tmp_path) == ["b.txt"]


@needs_locks
def test_a_process_that_nobody_waits_for_is_dead_as_well(tmp_path):
    process = python(WAIT, tmp_path, stdin=subprocess.PIPE)
    process.stdout.readline()
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it is dead, and still in the table
    save(tmp_path / "b.txt")
    assert names(tmp_path) == ["b.txt"]
    process.communicate()


@needs_locks
@pytest.mark.parametrize("age", [0, 10 * files.DAY])
def test_what_a_live_process_writes_is_left_alone(tmp_path, age):
    """However long it has been stopped."""
    process = python(WAIT, tmp_path, stdin=subprocess.PIPE)
    temporary = tmp_path / process.stdout.readline().strip()
    process.send_signal(signal.SIGSTOP)
    before = temporary.stat().st_mtime - age
    os.utime(temporary, (before, before))
    save(tmp_path / "b.txt")
    assert names(tmp_path) == sorted([temporary.name, "b.txt"])
    process.send_signal(signal.SIGCONT)
    output(process)
    assert names(tmp_path) == ["a.txt", "b.txt"]


@needs_locks
@pytest.mark.parametrize(("days", "stays"), [(0.5, True), (1.5, False)])
def test_another_computer_has_a_day(tmp_path, monkeypatch, days, stays):
    """Its lock may not be seen from here."""
    left = leave_one(tmp_path)
    before = left.stat().st_mtime - days * files.DAY
    os.utime(left, (before, before))
    monkeypatch.setattr(files, "HOST", "0" * 8)
    save(tmp_path / "b.txt")
    assert left.exists() == stays


def test_without_locks_a_day_decides(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "fcntl", None)
    young, old = (tmp_path / f".diplearn-{files.HOST}-{k:016x}.png" for k in range(2))
    for path in (young, old):
        path.touch()
    before = old.stat().st_mtime - 1.5 * files.DAY
    os.utime(old, (before, before))
    save(tmp_path / "b.txt")
    assert names(tmp_path) == sorted([young.name, "b.txt"])


@not_on_windows
def test_what_is_not_ours_is_left_alone(tmp_path):
    ours = f".diplearn-{files.HOST}-0123456789abcdef"
    theirs = [".diplearn-notes.txt", ".new-abcdefgh.png", f"{ours}0", f"{ours}~", f"a{ours}"]
    for name in theirs:
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, 0))
    (tmp_path / f"{ours}.folder").mkdir()
    (tmp_path / f"{ours}.link").symlink_to(tmp_path / theirs[0])
    (tmp_path / ours).touch()
    os.mkfifo(tmp_path / f"{ours}.fifo")
    before = names(tmp_path)
    save(tmp_path / "b.txt")
    assert names(tmp_path) == sorted({*before, "b.txt"} - {ours})


@needs_locks
def test_a_file_that_is_removed_before_it_is_locked_is_made_anew(tmp_path, monkeypatch):
    """As another process may do that takes it for a dead one's."""
    flock, removed = files.fcntl.flock, []

    def late(file, how):
        if not removed:
            removed.append(file.name)
            os.unlink(file.name)
        flock(file, how)

    monkeypatch.setattr(files.fcntl, "flock", late)
    save(tmp_path / "a.txt")
    assert removed and names(tmp_path) == ["a.txt"]


def test_a_disk_without_locks_can_be_written(tmp_path, monkeypatch):
    if files.fcntl is not None:
        refusal = OSError(errno.ENOLCK, "No locks available")
        monkeypatch.setattr(files.fcntl, "flock", mock.Mock(side_effect=refusal))
    left = tmp_path / f".diplearn-{files.HOST}-{0:016x}.png"
    left.touch()
    save(tmp_path / "a.txt")
    assert names(tmp_path) == sorted([left.name, "a.txt"])  # nobody can tell whether it is dead


def test_many_save_at_once_in_one_folder(tmp_path):
    begin = threading.Barrier(8)

    def work(k):
        begin.wait()
        for text in map(str, range(100)):
            save(tmp_path / f"{k % 4}.txt", text)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert names(tmp_path) == ["0.txt", "1.txt", "2.txt", "3.txt"]
    assert {path.read_text() for path in tmp_path.iterdir()} == {"99"}


def test_a_large_folder_is_not_looked_through_at_every_save(tmp_path, monkeypatch):
    """A sweep of 100,000 cases took longer and longer for each of its files."""
    scans, clock = [], iter(range(10_000))  # each look at the clock is a second later
    monkeypatch.setattr(files.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(files, "_remove_abandoned", lambda *_: scans.append(None))
    for _ in range(50):
        save(tmp_path / "a.txt")
    assert len(scans) == 1
    for _ in range(100):
        save(tmp_path / "a.txt")
    assert len(scans) == 2


# A new file under a name that is free.


@pytest.mark.parametrize("links", [True, False])
def test_new_files_written_at_once_all_get_names_of_their_own(tmp_path, monkeypatch, links):
    if not links:
        monkeypatch.setattr(os, "link", mock.Mock(side_effect=OSError(errno.EPERM, "no links")))
    wanted = [tmp_path / f"a-{number}.txt" for number in range(20)]
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda n: files.write_new(b"%d" % n, wanted), range(20)))
    assert sorted(made) == sorted(wanted)
    assert [path.read_bytes() for path in made] == [b"%d" % number for number in range(20)]
    assert names(tmp_path) == sorted(path.name for path in wanted)  # and nothing else


@not_on_windows
def test_a_new_file_has_the_usual_permissions(tmp_path):
    files.write_new(b"", [tmp_path / "new.txt"])
    (tmp_path / "usual.txt").write_text("")
    new, usual = (
        stat.S_IMODE((tmp_path / f"{name}.txt").stat().st_mode) for name in ("new", "usual")
    )
    assert new == usual


@not_on_windows
def test_what_a_kill_left_of_a_new_file_is_gone_after_the_next(tmp_path):
    code = "from diplearn import files; files.os.fsync = lambda _: os.kill(os.getpid(), 9)\n"
    code += "files.write_new(b'half', [folder / 'a.png'])"
    assert python(code, tmp_path).wait(60) == -9
    assert len(names(tmp_path)) == 1
    save(tmp_path / "b.txt")
    assert names(tmp_path) == ["b.txt"]
