"""A program at a terminal of its own: what it shows, and what is typed."""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

from hotseat_harness import seconds


def take_terminal():
    """A session of its own with this terminal, so that Ctrl-C is a signal for it alone; and one that is not ignored, as it is where the tests
    run as a shell's background job."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Terminal:
    """with Terminal([program, ...]) as t: t.expect("> "); t.type("hello\\n") ... t.ended() is the exit status."""

    def __init__(self, command, env=None, columns=200):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        clean = {k: v for k, v in os.environ.items() if not k.startswith("HOTSEAT_") and k != "NO_COLOR"}
        clean.update({"TERM": "xterm", **(env or {})})
        self.process = subprocess.Popen([str(c) for c in command], stdin=slave, stdout=slave, stderr=slave, env=clean, close_fds=True,
                                        start_new_session=True, preexec_fn=take_terminal)
        self.slave = slave  # kept, so that the terminal's settings can be looked at in the end
        self.before = termios.tcgetattr(slave)
        self.raw = ""       # all that was shown
        self.at = 0         # what was expected so far

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        os.close(self.slave)
        os.close(self.master)

    def read_some(self, timeout):
        if not select.select([self.master], [], [], timeout)[0]:
            return False
        self.raw += os.read(self.master, 65536).decode("utf-8", errors="surrogateescape")
        return True

    def expect(self, pattern, timeout=30):
        """Waits until the pattern is shown behind what was expected before; gives the text up to its end."""
        end = time.monotonic() + seconds(timeout)
        while True:
            found = re.search(pattern, self.raw[self.at:])
            if found:
                text = self.raw[self.at:self.at + found.end()]
                self.at += found.end()
                return text
            left = end - time.monotonic()
            assert left > 0, f"{pattern!r} was not shown; since then: {self.raw[self.at:]!r}"
            self.read_some(min(left, 0.5))
            assert self.process.poll() is None or self.read_some(0.1) or re.search(pattern, self.raw[self.at:]), \
                f"it ended with {self.process.returncode} before {pattern!r}: {self.raw[self.at:]!r}"

    def prompt(self, before=r"(\r|\n)", timeout=30):
        """Waits for the next prompt; gives what was shown before it. What is typed earlier than its terminal is set up shows twice."""
        shown = self.expect(before + r"> ", timeout)
        end = time.monotonic() + seconds(timeout)
        while termios.tcgetattr(self.slave)[3] & termios.ICANON:
            assert time.monotonic() < end, "a prompt, but no line can be edited"
            time.sleep(0.001)
        return shown

    def type(self, text):
        os.write(self.master, text.encode())

    def ended(self, timeout=20):
        """Its exit status; the terminal must be as it was."""
        end = time.monotonic() + seconds(timeout)
        while self.process.poll() is None:
            assert time.monotonic() < end, f"it does not end: {self.raw[-500:]!r}"
            self.read_some(0.1)
        while self.read_some(0):
            pass
        assert termios.tcgetattr(self.slave) == self.before, "the terminal is not as it was"
        return self.process.returncode
