"""Meets every file operation of a command with every fault, and checks what is left.

    faults.py --artifact COMMAND --layer libFaultLayer.so [--scenario TEXT] [--stride N]

A first run counts the calls. Then, for each call and each fault, the command runs in a fresh directory and must end
with 0 and the whole result, or with 3 (or the signal) and a message that names a file and the cause, what stood
there before untouched; nothing is left but, after a kill, one hidden sibling. A run without faults afterwards must
give, byte for byte, what one gives that never met any.
"""

import argparse
import collections
import concurrent.futures
import os
import shutil
import subprocess
import sys
import tempfile
import time

import layer
from scenarios import SCENARIOS, below, check_manifest, may_leave, snapshot, split_leftovers

CAUSES = {"EIO": "Input/output error", "ENOSPC": "No space left on device"}
# What must not fail unnoticed although the files look right afterwards.
SYNCS = {"fsync", "fdatasync"}
MAKES = {"open", "pwrite", "write", "mkdir", "rename", "fallocate", "ftruncate", "copy_file_range", "link"}
MOVES = {"pread", "read", "pwrite", "write", "copy_file_range"}
WAITS = MOVES | {"fsync", "open", "flock"}
CHANGES = MAKES | {"fsync", "unlink", "rmdir"}
SOURCE_CHANGES = ("TRUNCATE", "APPEND", "REWRITE", "REPLACE")


def faults_of(kind, path, is_export):
    yield "EIO"
    yield "KILL"
    if kind in MAKES:
        yield "ENOSPC"
    if kind in MOVES:
        yield "SHORT"
    if kind in WAITS:
        yield "EINTR"
    if kind in CHANGES:
        yield "KILLAFTER"
    if is_export:
        yield "INT"
        if kind == "pread" and "/in/" in path:
            yield from SOURCE_CHANGES


class Sweep:
    def __init__(self, command, library, place):
        self.command, self.library, self.place = command, library, place
        self.counts = collections.Counter()
        self.harmless = collections.Counter()

    def run(self, arguments, **environment):
        return subprocess.run(
            [self.command] + arguments, env=dict(os.environ, **environment), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120)

    def run_with(self, rule, directory, arguments, log=""):
        return self.run(arguments, LD_PRELOAD=self.library, FAULTS=rule, FAULTS_PATH=directory,
                        **({"FAULTS_LOG": log} if log else {}))

    def fresh(self, scenario):
        directory = tempfile.mkdtemp(dir=self.place)
        scenario.set_up(directory, self.run)
        return directory

    def count(self, scenario):
        """The calls of a run without faults, and what stands before and after it."""
        directory, log = self.fresh(scenario), tempfile.mktemp(dir=self.place)
        before = snapshot(directory)
        result = self.run_with("", directory, scenario.command(directory), log)
        assert result.returncode == 0, result.stderr
        after, partials = split_leftovers(snapshot(directory))
        assert not partials
        if "out/artifact-manifest.json" in after:
            check_manifest(os.path.join(directory, "out"))
        with open(log) as lines:
            calls = [tuple(line.rstrip("\n").split(" ", 1)) for line in lines]
        shutil.rmtree(directory)
        return calls, before, after

    def sweep(self, scenario, stride, pool):
        calls, before, after = self.count(scenario)
        numbers, cases = collections.Counter(), []
        for kind, path in calls:
            numbers[kind] += 1
            cases += [(kind, numbers[kind], fault)
                      for fault in faults_of(kind, path, scenario.arguments[0] == "export")]
        cases = cases[::stride]
        failures = [failure for failure in
                    pool.map(lambda case: self.attempt(scenario, case, before, after), cases) if failure]
        return len(calls), len(cases), failures

    def attempt(self, scenario, case, before, after):
        """Runs a case; gives what is wrong."""
        kind, number, fault = case
        rule = "%s:%d:%s" % case
        directory = self.fresh(scenario)
        try:
            result = self.run_with(rule, directory, scenario.command(directory))
            wrong = self.judge(scenario, case, directory, result, before, after) \
                or self.again(scenario, directory, fault, before, after)
            if wrong:
                return "%s: %s: %s\n    exit code %d, %s" % (
                    scenario.name, rule, wrong, result.returncode, result.stderr.strip())
        finally:
            shutil.rmtree(directory)

    def judge(self, scenario, case, directory, result, before, after):
        kind, number, fault = case
        code = result.returncode
        self.counts[code] += 1
        visible, partials = split_leftovers(snapshot(directory))
        if fault in SOURCE_CHANGES:
            # The source is not what it was; the destination is what is judged.
            def outside(found):
                return {path: digest for path, digest in found.items() if not path.startswith("in/")}
            if code == 0 and not partials:
                # Changed before the part that counts was read: then the result is that of the new source.
                shutil.move(os.path.join(directory, "out"), os.path.join(directory, "met"))
                self.run(scenario.command(directory))
                new = below(snapshot(directory), "out")
                return None if new and new == below(visible, "out") else "the result is of no version of the source"
            if code not in (1, 3) or outside(visible) != outside(before) or partials:
                return "a source that was changed is not refused"
            return None if "/in/" in result.stderr else "the message does not name the file"
        if scenario.recover and code != 0 and partials:
            self.run(scenario.command(directory, scenario.recover))
            visible, partials = split_leftovers(snapshot(directory))
        if not scenario.is_right(visible, before, after, succeeded=code == 0):
            changed = [path for path in set(visible) | set(after)
                       if not visible.get(path) == before.get(path) == after.get(path)]
            return "neither as before nor complete: %s" % sorted(changed)[:6]
        if not may_leave(partials, code, result.stderr, kind):
            return "left %s" % sorted(partials)
        if code == 0:
            if fault in CAUSES:
                if kind in SYNCS:
                    return "the failure went unnoticed"
                self.harmless[kind] += 1
            return None
        if fault in ("KILL", "KILLAFTER"):
            return None if code == -9 else "was not killed"
        if fault == "INT":
            return None if code == 130 else "not the exit code of an interrupt"
        if fault == "SHORT" or (fault == "EINTR" and kind in MOVES | {"fsync"}):
            return "a harmless fault was fatal"
        if code != 3:
            return "exit code %d" % code
        if directory not in result.stderr or CAUSES.get(fault, "") not in result.stderr:
            return "the message does not name the file and the cause"
        return None

    def again(self, scenario, directory, fault, before, after):
        if fault in SOURCE_CHANGES:
            return None
        visible, _ = split_leftovers(snapshot(directory))
        if scenario.arguments[0] == "export" and "--force" not in scenario.arguments and visible == after:
            shutil.rmtree(os.path.join(directory, "out"))
        result = self.run(scenario.command(directory))
        if result.returncode != 0:
            return "then it fails without a fault: %s" % result.stderr.strip()
        found, partials = split_leftovers(snapshot(directory))
        if partials:
            return "the next run leaves %s" % sorted(partials)
        if not scenario.is_right(found, before, after, succeeded=True):
            return "the next run gives another result"
        return None


def full_disk(sweep):
    """Exports to file systems that are too small by more or less, which needs the right to mount; the sizes tried."""
    scenario, sizes = SCENARIOS[0], [64, 256] + list(range(680, 780, 4)) + [2048]
    codes, failures = [], []
    for size in sizes:
        directory = sweep.fresh(scenario)
        disk = os.path.join(directory, "disk")
        os.mkdir(disk)
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%dk" % size, "tmpfs", disk],
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if mounted.returncode != 0:
            print("full disk: skipped, mounting is refused: %s" % mounted.stdout.strip())
            return []
        try:
            result = sweep.run(["export", directory + "/in", "-o", disk + "/out", "--quiet"])
            codes.append(result.returncode)
            left = os.listdir(disk)
            if result.returncode == 0 and left == ["out"]:
                check_manifest(disk + "/out")
            elif result.returncode != 3 or not may_leave(set(left), 3, result.stderr) or "free" not in result.stderr:
                failures.append("full disk of %d KiB: exit code %d, left %s, %s" % (
                    size, result.returncode, left, result.stderr.strip()))
        finally:
            subprocess.run(["umount", disk], check=True)
    if len(set(codes)) < 2:
        failures.append("full disk: no size was too small, or none was enough")
    print("full disk: %d sizes, %d too small, %d wrong" % (len(sizes), codes.count(3), len(failures)))
    return failures


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--artifact", required=True)
    parser.add_argument("--layer", required=True)
    parser.add_argument("--scenario", default="", help="only those whose name contains this")
    parser.add_argument("--stride", type=int, default=1, help="every Nth case only")
    parser.add_argument("--directory", help="where to work")
    options = parser.parse_args()
    library = os.path.abspath(options.layer)
    layer.check(library)
    failures = []
    with tempfile.TemporaryDirectory(prefix="faults-", dir=options.directory) as place, \
            concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        sweep = Sweep(os.path.abspath(options.artifact), library, place)
        if "full disk".startswith(options.scenario):
            failures += full_disk(sweep)
        for scenario in SCENARIOS:
            if options.scenario not in scenario.name:
                continue
            started = time.monotonic()
            calls, cases, found = sweep.sweep(scenario, options.stride, pool)
            failures += found
            print("%-34s %4d calls, %5d faults, %d wrong, %.0f s" % (
                scenario.name, calls, cases, len(found), time.monotonic() - started), flush=True)
    print("exit codes: " + ", ".join("%d: %d" % item for item in sorted(sweep.counts.items())))
    print("unnoticed and harmless: " + ", ".join("%s %d" % item for item in sorted(sweep.harmless.items())))
    for failure in failures[:40]:
        print(failure)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
