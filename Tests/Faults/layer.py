"""Checks that the fault layer does what its header says: python3 layer.py libFaultLayer.so

Each check runs a few lines of Python with the layer preloaded, on a file of eight bytes in a directory of its own.
"""

import os
import signal
import subprocess
import sys
import tempfile

# A rule, what is run (with `file` the path and `fd` the open file), and what it prints or the signal that ends it.
CHECKS = [
    ("", "print(os.pread(fd, 8, 0))", "b'01234567'"),
    ("pread:2:EIO", "os.pread(fd, 8, 0); os.pread(fd, 8, 0)", "EIO"),
    ("pread:2:EIO", "print(os.pread(fd, 8, 0))", "b'01234567'"),
    ("pread:1:EIO", "\ntry: os.pread(fd, 8, 0)\nexcept OSError: print(os.pread(fd, 8, 0))", "b'01234567'"),
    ("pread:1+:EIO", "\ntry: os.pread(fd, 8, 0)\nexcept OSError: os.pread(fd, 8, 0)", "EIO"),
    ("pread:1:SHORT", "print(os.pread(fd, 8, 0))", "b'0123'"),
    ("pread:1+:DELAY", "t = os.times()[4]; os.pread(fd, 8, 0); os.pread(fd, 8, 0); print(os.times()[4] - t >= 0.03)",
     "True"),
    ("read:1:SHORT", "print(os.read(fd, 1))", "b'0'"),
    ("pwrite:1:SHORT", "print(os.pwrite(fd, b'abcd', 0), os.pread(fd, 8, 0))", "2 b'ab234567'"),
    ("write:1:ENOSPC", "os.write(fd, b'x')", "ENOSPC"),
    ("fsync:1:EIO", "os.fsync(fd)", "EIO"),
    ("open:1:EMFILE", "os.open(file, 0)", "EMFILE"),
    ("open:1:EACCES", "os.open(file + '2', os.O_CREAT)", "EACCES"),
    ("", "os.close(os.open(file + '2', os.O_CREAT, 0o640)); print(oct(os.stat(file + '2').st_mode))", "0o100640"),
    ("mkdir:1:ENOSPC", "os.mkdir(file + '2')", "ENOSPC"),
    ("rename:1:EIO", "os.rename(file, file + '2')", "EIO"),
    ("unlink:1:EIO", "os.unlink(file)", "EIO"),
    ("ftruncate:1:ENOSPC", "os.ftruncate(fd, 100)", "ENOSPC"),
    ("*:2:EIO", "os.pread(fd, 8, 0); os.fsync(fd)", "EIO"),
    ("pread:1:EIO,fsync:1:ENOSPC", "os.fsync(fd)", "ENOSPC"),
    ("pwrite:1:KILL", "os.pwrite(fd, b'x', 0)", (signal.SIGKILL, "01234567")),
    ("pwrite:1:KILLAFTER", "os.pwrite(fd, b'x', 0)", (signal.SIGKILL, "x1234567")),
    ("pread:1:INT", "os.pread(fd, 8, 0)", (signal.SIGINT, "01234567")),
    ("pread:1:TRUNCATE", "print(os.pread(fd, 8, 0))", "b'0123'"),
    ("pread:1:APPEND", "print(os.pread(fd, 9, 0))", "b'01234567x'"),
    ("pread:1:REWRITE", "print(os.pread(fd, 8, 0))", "b'01234566'"),
    ("pread:1:REPLACE", "print(os.pread(fd, 8, 0), open(file).read())", "b'01234567' another file"),
    ("nothing:1:EIO", "", 97),
    ("pread:0:EIO", "", 97),
    ("pread:1:EWHAT", "", 97),
]

PROLOGUE = """
import errno, os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_SETMASK, [])
file = sys.argv[1]
fd = %d
try: exec(sys.argv[2])
except OSError as error: print(errno.errorcode[error.errno])
"""


def run(library, rule, code, directory):
    file = os.path.join(directory, "file")
    with open(file, "w") as stream:
        stream.write("01234567")
    # The descriptor is inherited, so that only the calls of the check itself are counted.
    fd = os.open(file, os.O_RDWR)
    environment = dict(os.environ, LD_PRELOAD=library, FAULTS=rule, FAULTS_PATH=directory)
    process = subprocess.run(
        [sys.executable, "-S", "-c", PROLOGUE % fd, file, code],
        env=environment, pass_fds=[fd], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    os.close(fd)
    return process, open(file).read()


def check(library):
    """Raises where the layer does something else than its header says."""
    for rule, code, expected in CHECKS:
        with tempfile.TemporaryDirectory() as directory:
            process, contents = run(library, rule, code, directory)
        if isinstance(expected, str):
            found = process.stdout.strip()
        elif isinstance(expected, tuple):
            found = (-process.returncode, contents)
        else:
            found = process.returncode
        if found != expected:
            raise SystemExit("%s: %s: %r, not %r\n%s" % (rule, code, found, expected, process.stderr))


if __name__ == "__main__":
    check(os.path.abspath(sys.argv[1]))
    print("fault layer: %d checks" % len(CHECKS))
