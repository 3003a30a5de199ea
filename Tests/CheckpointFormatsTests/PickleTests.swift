import ArchiveTestSupport
import Archives
import Checkpoints
import TensorCore
import Testing

@testable import CheckpointFormats

/// The machine on pickles written out by hand, without an archive around them.
@Suite struct PickleTests {
    static func run(_ pickle: [UInt8], limits: PickleLimits = PickleLimits()) throws(CheckpointError) -> (
        PickleHeap, PickleValue
    ) {
        var machine = PickleMachine(pickle, file: "file", limits: limits)
        let value = try machine.run()
        return (machine.heap, value)
    }

    static func code(_ pickle: [UInt8], limits: PickleLimits = PickleLimits()) -> String? {
        do throws(CheckpointError) {
            _ = try run(pickle, limits: limits)
            return nil
        } catch { return error.code }
    }

    static func ascii(_ text: String) -> [UInt8] { Array(text.utf8) }

    @Test(arguments: [
        ("N.", PickleValue.none), ("I01\n.", .boolean(true)), ("I00\n.", .boolean(false)),
        ("I-12\n.", .integer(-12)),
        ("L99L\n.", .integer(99)), ("L99999999999999999999L\n.", .bigInteger), ("F1.5\n.", .float(1.5)),
        ("J\u{1}\u{0}\u{0}\u{0}.", .integer(1)),
        ("G?\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}.", .float(0.000030517578125)),
        ("(.", nil), ("0.", nil), (".", nil), ("NN.", nil), ("Ix\n.", nil), ("h\u{5}.", nil),
        ("S'open\n.", nil),
        ("]N.", nil), ("}a.", nil), ("}]Ns.", nil), ("(NNNd.", nil), ("Nb.", nil), ("N)R.", nil),
    ])
    func `small pickles have the value that Python gives them`(pickle: String, expected: PickleValue?) {
        #expect((try? Self.run(Self.ascii(pickle)))?.1 == expected, "\(pickle)")
    }

    @Test func `integers of any length keep their sign`() throws {
        func value(_ digits: [UInt8]) throws -> PickleValue {
            try Self.run([0x8A, UInt8(digits.count)] + digits + [0x2E]).1
        }
        #expect(try value([]) == .integer(0))
        #expect(try value([0xFF]) == .integer(-1))
        #expect(try value([0xFF, 0]) == .integer(255))
        #expect(try value([UInt8](repeating: 0xFF, count: 20)) == .integer(-1))
        #expect(try value([0, 0, 0, 0, 0, 0, 0, 0x80]) == .integer(.min))
        #expect(try value([0, 0, 0, 0, 0, 0, 0, 0x80, 0]) == .bigInteger)
        #expect(try value([0, 0, 0, 0, 0, 0, 0, 0, 1]) == .bigInteger)
    }

    @Test func `text keeps its escapes as Python reads them`() throws {
        func text(_ pickle: String) throws -> [UInt8]? {
            let (heap, value) = try Self.run(Self.ascii(pickle))
            return heap.text(value)
        }
        #expect(try text("S'a\\x41\\n\\'b'\n.") == Self.ascii("aA\n'b"))
        #expect(try text("Va\\u00e9b\\n\n.") == Self.ascii("aéb\\n"))
        #expect(try text("S'\\x4'\n.") == Self.ascii("\\x4"))
    }

    @Test(arguments: [
        "cos\nsystem\n(S'true'\ntR.", "cposix\nsystem\n.", "(S'true'\niposix\nsystem\n.",
        "c__builtin__\neval\n.",
        "cbuiltins\nexec\n.", "ctorch\nload\n.", "ctorch.hub\nload\n.",
        "ctorch\nserialization.os.system\n.", "ctorch \nSize\n.", "ctorch._utils\n _rebuild_tensor\n.",
        "c\n\n.",
        "cnumpy.testing._private.utils\nrunstring\n.", "c__torch__\nX\n.",
    ])
    func `a global outside the table is refused by name`(pickle: String) throws {
        let error = try #require(throws: CheckpointError.self) { try Self.run(Self.ascii(pickle)) }
        #expect(error.code == "refused-global")
        #expect(error.class == .unsafe)
        #expect(error.message.contains("nothing was run"))
        let global = try #require(error.global)
        #expect(global.contains("."))
    }

    @Test func `the refused global is named with its place`() throws {
        let pickle: [UInt8] = [0x80, 2] + Self.ascii("N0cposix\nsystem\nX")
        let error = try #require(throws: CheckpointError.self) { try Self.run(pickle) }
        #expect(error.global == "posix.system")
        #expect(error.offset == 4)
    }

    @Test func `names from the memo, computed names and protocol 4 are covered`() throws {
        let memo: [UInt8] =
            [0x8C, 2] + Self.ascii("os") + [0x94, 0x8C, 6] + Self.ascii("system") + [0x94, 0x30, 0x30]
            + Self.ascii("h\u{0}h\u{1}") + [0x93, 0x2E]
        let error = try #require(throws: CheckpointError.self) { try Self.run(memo) }
        #expect(error.global == "os.system")
        // A name that a call would return.
        let computed = Self.ascii("c_codecs\nencode\n)Rc_codecs\nencode\n)R") + [0x93, 0x2E]
        #expect(Self.code(computed) == "refused-global")
    }

    @Test(
        arguments: [
            [0x82, 1], [0x83, 1, 0], [0x84, 1, 0, 0, 0], [0x28, 0x6F], [0x50, 0x78, 0x0A],
            [0x4E, 0x29, 0x7D, 0x92], [0x97],
            [0x98], [0x96],
        ] as [[UInt8]])
    func `other ways to make objects are refused`(pickle: [UInt8]) {
        #expect(Self.code(pickle + [0x2E]) == "refused-opcode")
    }

    @Test func `calls of what a call returned are refused`() {
        #expect(Self.code(Self.ascii("c_codecs\nencode\n)R)R.")) == "refused-opcode")
    }

    @Test func `containers that the memo shares are one container`() throws {
        // d = {}; l = [d, d]; d['k'] = 1
        let (heap, value) = try Self.run(Self.ascii("]}q\u{1}ah\u{1}ah\u{1}U\u{1}kI1\ns0."))
        let items = try #require(heap.items(value))
        #expect(items.count == 2 && items[0] == items[1])
        guard case .dictionary(let number) = items[0] else {
            Issue.record("not a dictionary")
            return
        }
        #expect(heap.dictionaries[Int(number)].values == [.integer(1)])
    }

    @Test func `a key that comes twice is refused`() {
        #expect(Self.code(Self.ascii("}(U\u{1}kNU\u{1}kNu.")) == "duplicate-name")
    }

    @Test func `limits hold`() {
        #expect(Self.code([UInt8](repeating: 0x28, count: 1001)) == "nesting-limit")
        #expect(Self.code(Self.ascii("Nr\u{7F}\u{7F}\u{7F}\u{7F}.")) == "memo-limit")
        #expect(Self.code(Self.ascii("X\u{7F}\u{7F}\u{7F}\u{7F}abc.")) == "truncated-pickle")
        #expect(Self.code([0x8D] + [UInt8](repeating: 0xFF, count: 8) + [0x2E]) == "bad-length")
        #expect(Self.code([0x8B] + [UInt8](repeating: 0xFF, count: 4) + [0x2E]) == "bad-length")
        var limits = PickleLimits()
        limits.opcodeCount = 100
        #expect(Self.code([UInt8](repeating: 0x4E, count: 101), limits: limits) == "pickle-limit")
        limits = PickleLimits()
        limits.heapCount = 100
        #expect(Self.code([UInt8](repeating: 0x5D, count: 200), limits: limits) == "pickle-limit")
        limits = PickleLimits()
        limits.stackCount = 100
        #expect(Self.code([UInt8](repeating: 0x4E, count: 200), limits: limits) == "pickle-limit")
    }

    @Test func `a list of pairs that is used again and again is refused`() {
        let pairs = (0..<50).map { "(I\($0)\nNt" }.joined()
        var pickle = Self.ascii("](" + pairs + "eq\u{1}")
        for _ in 0..<400 { pickle += Self.ascii("0ccollections\nOrderedDict\nq\u{2}h\u{1}") + [0x85, 0x52] }
        #expect(Self.code(pickle + [0x2E]) == "pickle-limit")
    }

    @Test func `a chain of containers built from the outside in is not followed to its end`() throws {
        // Each list is appended to the one before it, so that no mark and no stack shows the depth.
        var pickle = Self.ascii("]")
        pickle += [0x94]
        for index in 0..<5000 {
            let number = (0..<4).map { UInt8(truncatingIfNeeded: index >> ($0 * 8)) }
            // A new list, kept; the previous one; append; keep only the first on the stack.
            pickle += [0x6A] + number + [0x5D, 0x94, 0x61, 0x30]
        }
        pickle += [0x2E]
        let (heap, value) = try Self.run(pickle)
        let fault = CheckpointError(.malformed, "", "", file: "file")
        let error = try #require(throws: CheckpointError.self) {
            try StateTree(heap, root: value, opensRecords: false, limit: 1000, fault: fault)
        }
        #expect(error.code == "nesting-limit")
    }
}

/// Damage to pickles that no checksum notices.
@Suite struct PickleDamageTests {
    /// The fixtures' archives taken apart and put together without checksums.
    static func archive(_ name: String, pickle change: ([UInt8]) -> [UInt8]) throws -> [UInt8] {
        let source = MemorySource(name: "memory", contents: try Fixtures.bytes(name))
        let archive = try ZipArchive(reading: source)
        let members = try archive.entries.map { entry in
            let data = try archive.contents(of: entry, limit: 1 << 20)
            return ZipBuilder.Member(entry.text, entry.text.hasSuffix("/data.pkl") ? change(data) : data)
        }
        return ZipBuilder(members).bytes()
    }

    static let names = PyTorchFixtureTests.good.filter { !$0.contains("legacy") }

    @Test(arguments: names)
    func `a changed byte of a pickle gives an error or a table`(name: String) throws {
        var random = SeededRandom(seed: 9)
        var count = 0
        _ = try Self.archive(name) {
            count = $0.count; return $0
        }
        for index in 0..<count {
            let bytes = try Self.archive(name) { pickle in
                var pickle = pickle
                pickle[index] ^= UInt8.random(in: 1...255, using: &random)
                return pickle
            }
            RobustnessTests.probe(bytes)
        }
    }

    @Test(arguments: names)
    func `opcodes in another order give an error or a table`(name: String) throws {
        var random = SeededRandom(seed: 10)
        for _ in 0..<150 {
            let bytes = try Self.archive(name) { pickle in
                var pickle = pickle
                for _ in 0..<Int.random(in: 1...6, using: &random) {
                    let from = Int.random(in: 0..<pickle.count, using: &random)
                    let part = pickle[from..<min(pickle.count, from + .random(in: 1...30, using: &random))]
                    let to = Int.random(in: 0..<pickle.count, using: &random)
                    if Bool.random(using: &random) {
                        pickle.replaceSubrange(to..<min(pickle.count, to + part.count), with: part)
                    } else {
                        pickle.insert(contentsOf: part, at: to)
                    }
                }
                return pickle
            }
            RobustnessTests.probe(bytes)
        }
    }
}
