"""Kills an export of a large checkpoint at random moments, and runs it again each time.

    kills.py --artifact COMMAND [--count 100] [--megabytes 400] [--torch-python PYTHON] [--seed 1]

The destination is absent or complete after every kill, and the run that follows gives, byte for byte, what one that
was never interrupted gives. With a Python that has torch every second export is that of a .bin file.
"""

import argparse
import filecmp
import json
import os
import random
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time

from scenarios import check_manifest, split_leftovers

TENSORS = 24
TORCH = """
import sys, torch
count = int(sys.argv[2])
torch.save({"layer.%d.weight" % index: torch.randn(count) for index in range(24)}, sys.argv[1])
"""


def write_safetensors(path, byte_count):
    """A file of a few tensors of unequal sizes, with bytes that do not repeat."""
    sizes = [byte_count // TENSORS // 4096 * 4096 + 4 * index for index in range(TENSORS)]
    header, offset = {}, 0
    for index, size in enumerate(sizes):
        header["layer.%d.weight" % index] = {
            "dtype": "F32", "shape": [size // 4], "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    block = random.randbytes(1 << 20)
    with open(path, "wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        for index, size in enumerate(sizes):
            for number in range(0, size, len(block)):
                piece = struct.pack("<II", index, number) + block
                stream.write(piece[:min(len(block), size - number)])


def same(one, other):
    names = sorted(os.listdir(one))
    return names == sorted(os.listdir(other)) and not any(filecmp.cmpfiles(one, other, names, shallow=False)[1:])


class Kills:
    def __init__(self, command, place, source, arguments):
        self.command, self.place, self.source, self.arguments = command, place, source, arguments
        self.out = tempfile.mktemp(prefix="out-", dir=place)
        self.resumed, self.kept_bytes, self.killed, self.ended = 0, [], 0, 0

    def start(self, out, *options):
        return subprocess.Popen(
            [self.command, "export", self.source, "-o", out, *self.arguments, *options],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def complete(self, out, *options):
        process = self.start(out, "--json", *options)
        text, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors
        return json.loads(text)

    def reference(self):
        """An uninterrupted export, and how long one takes."""
        path = self.out + "-whole"
        started = time.monotonic()
        self.report = self.complete(path)
        self.seconds = time.monotonic() - started
        check_manifest(path)
        self.whole = path

    def kill(self):
        """One kill and the run after it."""
        process = self.start(self.out, "--quiet")
        time.sleep(random.uniform(0, 1.05 * self.seconds))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        self.killed += process.returncode == -signal.SIGKILL
        self.ended += process.returncode == 0
        assert process.returncode in (0, -signal.SIGKILL), process.returncode
        if os.path.exists(self.out):
            assert same(self.out, self.whole), "the destination is half made"
            shutil.rmtree(self.out)
        report = self.complete(self.out)
        kept = self.report["summary"]["bytes_written"] - report["summary"]["bytes_written"]
        self.resumed += kept > 0
        self.kept_bytes.append(kept)
        assert same(self.out, self.whole), "the result is another one"
        shutil.rmtree(self.out)
        _, partials = split_leftovers({name: "" for name in os.listdir(self.place)})
        assert not partials, "left %s" % partials


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--artifact", required=True)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--megabytes", type=int, default=400)
    parser.add_argument("--torch-python", help="a Python with torch, for a .bin file")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--directory", help="where to work")
    options = parser.parse_args()
    random.seed(options.seed)
    with tempfile.TemporaryDirectory(prefix="kills-", dir=options.directory) as place:
        source = os.path.join(place, "big.safetensors")
        write_safetensors(source, options.megabytes * 1_000_000)
        size = "%dMB" % max(1, options.megabytes // 5)
        runs = [
            Kills(os.path.abspath(options.artifact), place, source, ["--max-shard-size", size, *kind])
            for kind in ([], ["--to", "pytorch"])
        ]
        if options.torch_python:
            binary = os.path.join(place, "big.bin")
            subprocess.run([options.torch_python, "-c", TORCH, binary,
                            str(options.megabytes * 1_000_000 // TENSORS // 4)], check=True)
            runs.append(Kills(runs[0].command, place, binary, ["--dtype", "bf16", "--max-shard-size", size]))
        for run in runs:
            run.reference()
        started = time.monotonic()
        for number in range(options.count):
            runs[number % len(runs)].kill()
        for run in runs:
            print("%s %s: %d killed, %d had ended, %d resumed, bytes not written again: median %d of %d; %.2f s a run" % (
                os.path.basename(run.source), " ".join(run.arguments[2:]), run.killed, run.ended, run.resumed,
                statistics.median(run.kept_bytes or [0]), os.path.getsize(run.source), run.seconds))
        print("%d kills in %.0f s, every result right" % (options.count, time.monotonic() - started))


if __name__ == "__main__":
    main()
