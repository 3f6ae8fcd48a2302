"""What one machine has computed, another takes from a DVC remote: a folder, and a server by SSH."""

import getpass
import importlib.util
import os
import shutil
import socket
import subprocess
import time
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.support.pipeline import PROJECT, dvc

SSHD = shutil.which("sshd", path=os.pathsep.join([os.environ["PATH"], "/usr/sbin"]))  # not on every user's path
PATIENCE = 30  # seconds for sshd to listen
needs_ssh = pytest.mark.skipif(
    not SSHD or not shutil.which("ssh-keygen") or not importlib.util.find_spec("dvc_ssh"),
    reason="needs an SSH server, as of Debian's openssh-server, and dvc-ssh, which is in requirements-cluster.txt",
)
CONFIG = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
PermitRootLogin prohibit-password
Subsystem sftp internal-sftp
"""


def git(folder, *arguments):
    name = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    done = subprocess.run(["git", *name, *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def committed(reproduced, tmp_path):
    """The reproduced project in git, as the real one is: with its rules of what git ignores, and DVC's settings."""
    folder, _ = reproduced
    home = tmp_path / "home"
    shutil.copytree(folder, home, ignore=shutil.ignore_patterns("tmp", "__pycache__"))
    for name in (".gitignore", ".dvcignore", ".dvc/config", ".dvc/.gitignore"):
        shutil.copy(PROJECT / name, home / name)
    git(home, "init", "--quiet")
    commit(home)
    return home


def commit(folder):
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "as it is")


def cloned(home, *settings):
    """Pushes to the remote `shared`, and pulls from it in a fresh clone, which gets these settings of the remote."""
    dvc(home, "push")
    clone = home.with_name("clone")
    git(home.parent, "clone", "--quiet", str(home), str(clone))
    assert not (clone / "data" / "prune").exists() and not (clone / "reports" / "blend.html").exists()
    configured(clone, *settings)
    dvc(clone, "pull")
    return clone


def configured(folder, *settings):
    """What is this machine's alone, and so not committed."""
    for name, value in settings:
        dvc(folder, "remote", "modify", "--local", "shared", name, value)


def nothing_to_do(folder, *options):
    shown = dvc(folder, "repro", *options)
    return "Running stage" not in shown and "Data and pipelines are up to date." in shown


def same_submission(home, clone):
    name = Path("data", "leaderboard", "submission.csv")
    return (home / name).read_bytes() == (clone / name).read_bytes()


def test_through_a_folder(committed, tmp_path):
    remote = tmp_path / "remote"
    dvc(committed, "remote", "add", "--default", "shared", str(remote))
    commit(committed)
    clone = cloned(committed)
    assert nothing_to_do(clone) and same_submission(committed, clone)
    assert git(clone, "status", "--porcelain") == ""
    remote.rename(tmp_path / "away")
    assert "Everything is up to date." in dvc(clone, "pull")  # what is there is not asked for again
    shutil.rmtree(clone / "data" / "sample" / "npz_all")
    assert nothing_to_do(clone, "--allow-missing")  # a machine that trains needs no npz files


@needs_ssh
def test_by_ssh(committed, tmp_path):
    with server(tmp_path / "ssh") as (port, log):
        remote = tmp_path / "remote"
        dvc(committed, "remote", "add", "--default", "shared", f"ssh://127.0.0.1:{port}{remote}")
        commit(committed)
        settings = [("user", getpass.getuser()), ("keyfile", str(tmp_path / "ssh" / "user"))]
        configured(committed, *settings)
        clone = cloned(committed, *settings)
        assert nothing_to_do(clone) and same_submission(committed, clone)
        assert "Accepted publickey" in log.read_text() and any(remote.rglob("*.dir"))


@contextmanager
def server(folder):
    """A server that this user's new key opens: yields its port and the file of what it says."""
    folder.mkdir()
    for name in ("host", "user"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd's empty folder, which as root it insists on
    (folder / "config").write_text(CONFIG.format(port=port, folder=folder))
    log = folder / "log"
    log.touch()
    process = subprocess.Popen([SSHD, "-D", "-E", str(log), "-f", str(folder / "config")])
    try:
        waited(process, port, log)
        yield port, log
    finally:
        process.terminate()
        process.wait()


def waited(process, port, log):
    end = time.monotonic() + PATIENCE
    while True:
        assert process.poll() is None and time.monotonic() < end, log.read_text()
        with closing(socket.socket()) as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
