import FuzzEntries
import Glibc
import Testing

/// A few seconds of mutated files for everything that reads untrusted bytes.
///
/// Each runs in a process of its own with little memory and little time, so a trap, a hang or a flood fails the
/// test and not the run. `make fuzz` goes on for as long as one likes.
@Suite struct BoundedFuzzTests {
    @Test func `SafeTensors headers`() async {
        await #expect(processExitsWith: .success) { try fuzz(.header, count: 20_000) }
    }

    @Test func `JSON documents`() async {
        await #expect(processExitsWith: .success) { try fuzz(.json, count: 20_000) }
    }

    @Test func `shard indexes`() async {
        await #expect(processExitsWith: .success) { try fuzz(.index, count: 10_000) }
    }

    @Test func `PyTorch files`() async {
        await #expect(processExitsWith: .success) { try fuzz(.pytorch, count: 5_000) }
    }

    @Test func `pickles in archives`() async {
        await #expect(processExitsWith: .success) { try fuzz(.pickle, count: 5_000) }
    }

    @Test func `NeMo archives`() async {
        await #expect(processExitsWith: .success) { try fuzz(.nemo, count: 3_000) }
    }

    @Test func `compressed streams`() async {
        await #expect(processExitsWith: .success) { try fuzz(.stream, count: 20_000) }
    }

    @Test func `globs and substitutions`() async {
        await #expect(processExitsWith: .success) { try fuzz(.pattern, count: 10_000) }
    }

    @Test func `distributed checkpoints of PyTorch`() async {
        await #expect(processExitsWith: .success) { try fuzz(.dcp, count: 250) }
    }

    @Test func `distributed checkpoints of DeepSpeed`() async {
        await #expect(processExitsWith: .success) { try fuzz(.zero, count: 250) }
    }

    @Test func `GGUF files`() async {
        await #expect(processExitsWith: .success) { try fuzz(.gguf, count: 10_000) }
    }

    @Test func `models of SentencePiece`() async {
        await #expect(processExitsWith: .success) { try fuzz(.sentencepiece, count: 4_000) }
    }

    @Test func adapters() async {
        await #expect(processExitsWith: .success) { try fuzz(.adapter, count: 3_000) }
    }

    @Test func pipelines() async {
        await #expect(processExitsWith: .success) { try fuzz(.pipeline, count: 10_000) }
    }

    @Test func `names of tensors`() async {
        await #expect(processExitsWith: .success) { try fuzz(.names, count: 3_000) }
    }

    @Test func `Flax files`() async {
        await #expect(processExitsWith: .success) { try fuzz(.msgpack, count: 20_000) }
    }

    @Test func `Orbax databases and arrays`() async {
        await #expect(processExitsWith: .success) { try fuzz(.ocdbt, count: 10_000) }
    }

    @Test func `NumPy arrays and archives`() async {
        await #expect(processExitsWith: .success) { try fuzz(.npy, count: 10_000) }
    }

    @Test func `ONNX models`() async {
        await #expect(processExitsWith: .success) { try fuzz(.onnx, count: 10_000) }
    }

    @Test func `HDF5 files`() async {
        await #expect(processExitsWith: .success) { try fuzz(.hdf5, count: 5_000) }
    }

    @Test(arguments: FuzzEntry.allCases)
    func `there are files to start from`(_ entry: FuzzEntry) throws {
        #expect(try Corpus.files(for: entry, root: repositoryRoot).count > 10)
    }

    @Test func `a seed always gives the same files`() {
        var (a, b) = (HeaderGenerator(seed: 5), HeaderGenerator(seed: 5))
        for _ in 0..<100 { #expect(a.next() == b.next()) }
    }
}

private let repositoryRoot = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(3)
    .joined(separator: "/")

/// Reads mutated files in at most half a gigabyte of memory and a minute of time.
private func fuzz(_ entry: FuzzEntry, count: Int) throws {
    var limit = rlimit(rlim_cur: 512 << 20, rlim_max: 512 << 20)
    setrlimit(__rlimit_resource_t(RLIMIT_DATA.rawValue), &limit)
    alarm(60)
    let corpus = try Corpus.files(for: entry, root: repositoryRoot)
    var random = SeededRandom(seed: 1)
    var generator = HeaderGenerator(seed: 1)
    for round in 0..<count {
        var bytes = entry == .header && round % 2 == 0 ? generator.next() : random.pick(corpus)
        if entry == .names, round % 4 != 0 {
            for _ in 0...round % 3 { Mutator.replaceNumber(&bytes, &random) }
            entry(bytes)
            continue
        }
        Mutator.mutate(&bytes, fixed: entry == .header ? 8 : 0, &random)
        if entry == .header, round % 8 != 0 { Mutator.mendHeaderLength(&bytes) }
        entry(bytes)
    }
}
