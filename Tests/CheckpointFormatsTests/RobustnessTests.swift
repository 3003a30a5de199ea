import CheckpointFormats
import Checkpoints
import TensorCore
import Testing

/// Damage of any kind gives an error or a readable table, never a trap or a hang.
@Suite struct RobustnessTests {
    static let small = Fixtures.names.filter { (try? Fixtures.bytes($0).count) ?? .max < 2200 }

    /// Reads a file and, where that works, a little of every tensor.
    @discardableResult
    static func probe(_ bytes: [UInt8]) -> CheckpointError? {
        do throws(CheckpointError) {
            let checkpoint = try Fixtures.read(bytes)
            _ = checkpoint.tiedGroups
            for tensor in checkpoint.tensors where tensor.byteCount > 0 {
                let width = tensor.dtype.byteWidth ?? 1
                let count = Int(min(tensor.byteCount, UInt64(width * 64)))
                var buffer = [UInt8](repeating: 0, count: count)
                var span = buffer.mutableSpan
                var raw = MutableRawSpan(_elements: &span)
                do throws(IOError) {
                    try tensor.source.read(at: 0, into: &raw)
                    try tensor.source.read(at: tensor.byteCount - UInt64(count), into: &raw)
                } catch { throw CheckpointError(error) }
            }
            return nil
        } catch { return error }
    }

    @Test(arguments: Fixtures.names)
    func `every truncated file is refused`(name: String) throws {
        let bytes = try Fixtures.bytes(name)
        for point in 0..<200 {
            let count = bytes.count * point / 200
            let error = Self.probe(Array(bytes[..<count]))
            #expect(error != nil, "\(count) of \(bytes.count) bytes")
        }
    }

    @Test(arguments: small)
    func `a changed byte gives an error or a table`(name: String) throws {
        var random = SeededRandom(seed: 7)
        var bytes = try Fixtures.bytes(name)
        // Padding is nobody's.
        for index in bytes.indices where bytes[index] != 0x5A {
            let change = UInt8.random(in: 1...255, using: &random)
            bytes[index] ^= change
            Self.probe(bytes)
            bytes[index] ^= change
        }
    }

    @Test func `random damage gives an error or a table`() throws {
        var random = SeededRandom(seed: 20_260_101)
        for name in Self.small {
            let original = try Fixtures.bytes(name)
            for _ in 0..<40 {
                var bytes = original
                for _ in 0..<Int.random(in: 1...12, using: &random) {
                    switch Int.random(in: 0..<3, using: &random) {
                    case 0:
                        bytes[Int.random(in: bytes.indices, using: &random)] = .random(
                            in: 0...255, using: &random)
                    case 1: bytes.remove(at: Int.random(in: bytes.indices, using: &random))
                    default:
                        let from = Int.random(in: bytes.indices, using: &random)
                        let part = bytes[from..<min(bytes.count, from + 8)]
                        bytes.insert(contentsOf: part, at: Int.random(in: bytes.indices, using: &random))
                    }
                }
                Self.probe(bytes)
            }
        }
    }
}

/// SplitMix64, so that a failure can be run again.
struct SeededRandom: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
        return z ^ z >> 31
    }
}
