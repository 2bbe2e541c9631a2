"""A control group with a memory limit for a server, and a ballast process that takes memory in it.

KernelGroup is a real one, of version 1 or 2, where this user may make one. FileGroup shows the server a folder with a group's files in its
place, in a mount namespace: figures without force. MADE are those that this machine lets us make. OptionLimit is for where there are none:
the server's own limit, which no ballast can change.
"""
import os
import pathlib
import re
import subprocess
import sys
import uuid

MOUNT = pathlib.Path("/sys/fs/cgroup")
TAKE = "import sys; b = bytearray(b'x') * int(sys.argv[1]); print('there', flush=True); sys.stdin.read()"


class KernelGroup:
    options = ()

    def __init__(self, folder, limit_bytes):
        old = (MOUNT / "memory").is_dir()
        self.dir = (MOUNT / "memory" if old else MOUNT) / f"hotseat-test-{uuid.uuid4().hex[:12]}"
        self.dir.mkdir()
        try:
            (self.dir / ("memory.limit_in_bytes" if old else "memory.max")).write_text(str(limit_bytes))
        except OSError:
            self.dir.rmdir()
            raise
        self.kill_file = self.dir / ("memory.oom_control" if old else "memory.events")
        self.full_file = self.dir / ("memory.failcnt" if old else "memory.events")
        self.prefix = ["sh", "-c", f'echo $$ > {self.dir}/cgroup.procs && exec "$@"', "sh"]
        self.ballast = None

    def take(self, n_bytes):
        self.ballast = subprocess.Popen([*self.prefix, sys.executable, "-c", TAKE, str(n_bytes)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.ballast.stdout.readline() == b"there\n"

    def give_back(self):
        if self.ballast:
            self.ballast.communicate()
            self.ballast = None

    def kills(self):
        return int(re.search(r"^oom_kill (\d+)", self.kill_file.read_text(), re.M)[1])

    def was_full(self):
        return int(re.search(r"^(?:max )?(\d+)$", self.full_file.read_text(), re.M)[1]) > 0

    def close(self):
        self.give_back()
        for line in (self.dir / "cgroup.procs").read_text().split():  # a server that a failed test has left
            (self.dir.parent / "cgroup.procs").write_text(line)
        self.dir.rmdir()


class FileGroup:
    USED = 50 << 20
    options = ()

    def __init__(self, folder, limit_bytes):
        self.files = {name: pathlib.Path(folder) / "group" / name
                      for name in ("memory.max", "memory.current", "memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes")}
        for path in self.files.values():
            path.parent.mkdir(parents=True, exist_ok=True)
        self.files["memory.max"].write_text(str(limit_bytes))
        self.files["memory/memory.limit_in_bytes"].write_text(str(limit_bytes))
        self.use(self.USED)
        self.prefix = [*UNSHARE, "sh", "-c", f'mount --bind {folder}/group {MOUNT} && exec "$@"', "sh"]

    def use(self, n_bytes):
        self.files["memory.current"].write_text(str(n_bytes))
        self.files["memory/memory.usage_in_bytes"].write_text(str(n_bytes))

    def take(self, n_bytes):
        self.use(self.USED + n_bytes)

    def give_back(self):
        self.use(self.USED)

    def close(self):
        pass


class OptionLimit:
    prefix = ()

    def __init__(self, folder, limit_bytes):
        self.options = ["--memory", limit_bytes]

    def close(self):
        pass


UNSHARE = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]


def _kernel_group_works():
    try:
        KernelGroup(None, 1 << 30).close()
    except OSError:
        return False
    return True


def _file_group_works():
    command = [*UNSHARE, "sh", "-c", f"mount --bind /tmp {MOUNT}"]
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False


MADE = [kind for kind, works in ((KernelGroup, _kernel_group_works), (FileGroup, _file_group_works)) if works()]
