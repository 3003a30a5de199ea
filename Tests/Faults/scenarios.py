"""What the sweep runs, and what may stand in the working directory afterwards."""

import hashlib
import json
import os
import re
import shutil

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SAMPLE = os.path.join(ROOT, "SampleModels/tiny-llama")
ADAPTER = os.path.join(ROOT, "SampleModels/tiny-llama-lora/adapter_model.safetensors")
SHARDS = os.path.join(ROOT, "Tests/Fixtures/shards/hub")

# What a run that did not end well may leave beside the destination: a directory or a file, or a journal.
PARTIAL = re.compile(r"((?:in/)?\.[^/]+\.(?:partial-[0-9a-f]{8}|[0-9a-f]{1,8}\.partial|artifact-journal))(?:/|$)")


def snapshot(directory):
    """The SHA-256 of each file and the name of each directory, by path."""
    found = {}
    for folder, folders, files in os.walk(directory):
        for name in folders:
            found[os.path.relpath(os.path.join(folder, name), directory) + "/"] = ""
        for name in files:
            path = os.path.join(folder, name)
            with open(path, "rb") as stream:
                found[os.path.relpath(path, directory)] = hashlib.sha256(stream.read()).hexdigest()
    return found


def split_leftovers(found):
    """What stands for all to see, and the names of the hidden leftovers beside it."""
    partials = {match.group(1) for match in map(PARTIAL.match, found) if match}
    return {path: digest for path, digest in found.items() if not PARTIAL.match(path)}, partials


def may_leave(partials, exit_code, errors, kind=""):
    """Whether a run may leave these behind.

    One after a kill, one that the message says is kept to go on from, or one whose removal met the fault.
    """
    if not partials:
        return True
    name = os.path.basename(next(iter(partials)))
    return len(partials) == 1 and (
        exit_code == -9 or re.search(r"kept in \S*" + re.escape(name), errors) is not None
        or kind in ("unlink", "rmdir", "opendir", "readdir", "stat"))


def below(found, name):
    """What stands below a name, with paths relative to it."""
    return {path[len(name) + 1:]: digest for path, digest in found.items() if path.startswith(name + "/")}


def check_manifest(directory):
    """Raises unless every file is what artifact-manifest.json says, and nothing else is there."""
    with open(os.path.join(directory, "artifact-manifest.json")) as stream:
        manifest = json.load(stream)
    found = snapshot(directory)
    del found["artifact-manifest.json"]
    assert found == {file["path"]: file["sha256"] for file in manifest["files"]}, "not what the manifest says"


class Scenario:
    """A command, run in a fresh working directory."""

    def __init__(self, name, arguments, source=SAMPLE, prepare=(), recover=None, occupant=None, judge=None):
        self.name = name
        self.arguments = arguments
        self.source = source
        self.prepare_arguments = prepare
        self.recover = recover
        self.occupant = occupant
        self.judge = judge

    def command(self, directory, arguments=None):
        return [argument.replace("@", directory) for argument in arguments or self.arguments]

    def set_up(self, directory, run):
        target = os.path.join(directory, "in")
        if os.path.isdir(self.source):
            shutil.copytree(self.source, target)
        else:
            os.mkdir(target)
            shutil.copy(self.source, target)
            # Another model of the same sizes.
            with open(os.path.join(target, os.path.basename(self.source)), "rb") as stream:
                contents = bytearray(stream.read())
            contents[-4096:] = bytes(byte ^ 1 for byte in contents[-4096:])
            os.mkdir(os.path.join(directory, "other"))
            with open(os.path.join(directory, "other", os.path.basename(self.source)), "wb") as stream:
                stream.write(contents)
        if self.prepare_arguments:
            assert run(self.command(directory, self.prepare_arguments)).returncode == 0
        if self.occupant:
            for name, text in self.occupant.items():
                os.makedirs(os.path.dirname(os.path.join(directory, name)), exist_ok=True)
                with open(os.path.join(directory, name), "w") as stream:
                    stream.write(text)

    def is_right(self, visible, before, after, succeeded=False):
        """Whether the directory is as it was, or as a run without faults leaves it."""
        return self.judge(visible, before, after, succeeded) if self.judge else \
            visible == after or visible == before and not succeeded


def replaces(may_delete):
    """Judges a run that replaces what stands at the destination.

    That is there or, after a success, beside it (or gone, where it may be deleted); whatever else is there is a
    complete result.
    """
    def judge(visible, before, after, succeeded):
        old, new = below(before, "out"), below(after, "out")
        names = {path.split("/")[0] for path in visible} - {"in", "other"}
        found = [below(visible, name) for name in names]
        return all(re.match(r"out(\.replaced-\d+)?$", name) for name in names) \
            and all(item in (old, new) for item in found) \
            and (new if succeeded else below(visible, "out")) == below(visible, "out") \
            and (found.count(old) == 1 or may_delete and below(visible, "out") == new)
    return judge


def set_index(key):
    return {"in/model.safetensors.index.json": json.dumps(
        {"metadata": {"total_size": 1}, "weight_map": {key: "model-00001-of-00003.safetensors"}})}


EXPORT = ["export", "@/in", "-o", "@/out", "--quiet", "--jobs", "1"]
SCENARIOS = [
    Scenario("export", EXPORT),
    Scenario("export, shards", EXPORT + ["--max-shard-size", "300KB"]),
    Scenario("export, PyTorch shards", EXPORT + ["--to", "pytorch", "--max-shard-size", "300KB"]),
    Scenario("export, NumPy", EXPORT + ["--to", "npz", "--dtype", "f32"]),
    Scenario("export, GGUF quantised", EXPORT + ["--to", "gguf", "--quantize", "q4_k_m"]),
    Scenario("export --force over an export", EXPORT + ["--force"], prepare=EXPORT + ["--dtype", "bf16"],
             judge=replaces(may_delete=True)),
    Scenario("export --force over one of equal size", EXPORT + ["--force"], source=ADAPTER,
             prepare=[argument.replace("@/in", "@/other") for argument in EXPORT],
             judge=replaces(may_delete=True)),
    Scenario("export --force over other files", EXPORT + ["--force"], occupant={"out/mine.txt": "mine"},
             judge=replaces(may_delete=False)),
    Scenario("metadata set, in place", ["metadata", "set", "@/in/adapter_model.safetensors", "format=np"],
             source=ADAPTER, recover=["metadata", "get", "@/in/adapter_model.safetensors"]),
    Scenario("metadata set, grown", ["metadata", "set", "@/in/adapter_model.safetensors", "note=" + "x" * 9000],
             source=ADAPTER, recover=["metadata", "get", "@/in/adapter_model.safetensors"]),
    Scenario("index repair", ["index", "repair", "@/in", "--force"], source=SHARDS, occupant=set_index("gone")),
]
