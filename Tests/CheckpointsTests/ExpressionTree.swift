import Checkpoints
import TensorCore

/// A random expression, what it should be, and a description of both for the oracle.
struct ExpressionTree {
    var lazy: TensorExpression
    var plain: PlainTensor
    /// The operations as JSON.
    var text: String

    /// A stored tensor of random numbers, somewhere in a source that knows what is read.
    init(leaf dtype: DType, shape: [Int], using random: inout SeededRandom) throws {
        let count = shape.reduce(1, *)
        let values = (0..<count).map { _ in
            dtype == .f8E8M0
                ? [0.25, 0.5, 1, 2, 8].randomElement(using: &random) ?? 1
                : Float.random(in: -6...6, using: &random)
        }
        plain = PlainTensor(dtype: dtype, shape: shape, values: values)
        let bytes = plain.bytes ?? []
        let lead = Int.random(in: 0..<9, using: &random)
        let tail = Int.random(in: 0..<9, using: &random)
        let source = RecordingSource(
            contents: [UInt8](repeating: 0xEE, count: lead) + bytes + [UInt8](repeating: 0xEE, count: tail),
            readCost: [1, 16, 64, 8192, 1 << 20].randomElement(using: &random) ?? 1)
        lazy = try TensorExpression(
            dtype: dtype, shape: shape.map(UInt64.init),
            source: .extent(
                Extent(source: source, offset: UInt64(lead), byteCount: UInt64(bytes.count))))
        let hex = bytes.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
        text = #"{"op":"leaf","dtype":"\#(dtype.name)","shape":\#(shape),"hex":"\#(hex)"}"#
    }

    /// A stored tensor of up to five dimensions, whose elements fill whole bytes.
    static func leaf(_ dtypes: [DType], using random: inout SeededRandom) throws -> ExpressionTree {
        let dtype = dtypes.randomElement(using: &random) ?? .f32
        var shape: [Int]
        repeat {
            let rank = Int.random(in: 0...5, using: &random)
            shape = (0..<rank).map { _ in [1, 2, 3, 4, 5, 8].randomElement(using: &random) ?? 1 }
            if Int.random(in: 0..<40, using: &random) == 0 { shape.append(0) }
        } while shape.reduce(dtype.bitWidth, *) % 8 != 0 || shape.reduce(1, *) > 4000
        return try ExpressionTree(leaf: dtype, shape: shape, using: &random)
    }

    /// A leaf and a few random operations on it.
    init(
        depth: Int, dtypes: [DType] = Self.allDTypes, casts: [DType] = Self.allDTypes,
        using random: inout SeededRandom
    ) throws {
        self = try Self.leaf(dtypes, using: &random)
        for _ in 0..<depth {
            let before = self
            do {
                try step(casts, using: &random)
            } catch is ExpressionError {
                // Only what cannot be stored is refused.
                if plain.bytes != nil { throw UnexpectedRefusal(text: text) }
                self = before
            }
        }
    }

    struct UnexpectedRefusal: Error { let text: String }

    static let allDTypes = DType.allCases.filter { ![.c64, .bool, .f8E8M0].contains($0) }

    private mutating func step(_ casts: [DType], using random: inout SeededRandom) throws {
        switch Int.random(in: 0..<8, using: &random) {
        case 0, 1: try permute(using: &random)
        case 2: try slice(using: &random)
        case 3: try concatenate(using: &random)
        case 4: try cast(casts.randomElement(using: &random) ?? .f32)
        case 5: try reshape(using: &random)
        case 6: try updateLowRank(using: &random)
        default: try dequantise(using: &random)
        }
    }

    private mutating func permute(using random: inout SeededRandom) throws {
        let order = plain.shape.indices.shuffled(using: &random)
        text = #"{"op":"permute","of":\#(text),"order":\#(order)}"#
        plain = plain.permuted(order)
        lazy = try lazy.permuted(order)
    }

    private mutating func slice(using random: inout SeededRandom) throws {
        let ranges = plain.shape.map { count -> Range<Int> in
            if Bool.random(using: &random) { return 0..<count }
            let low = Int.random(in: 0...count, using: &random)
            let high = Int.random(in: low...count, using: &random)
            return low < high || Int.random(in: 0..<10, using: &random) == 0 ? low..<high : 0..<count
        }
        text =
            #"{"op":"slice","of":\#(text),"from":\#(ranges.map(\.lowerBound)),"to":\#(ranges.map(\.upperBound))}"#
        plain = plain.sliced(ranges)
        lazy = try lazy.sliced(ranges.map { UInt64($0.lowerBound)..<UInt64($0.upperBound) })
    }

    private mutating func concatenate(using random: inout SeededRandom) throws {
        guard let axis = plain.shape.indices.randomElement(using: &random), plain.codes.count < 20_000 else {
            return
        }
        var others = [self]
        if Bool.random(using: &random) {
            var shape = plain.shape
            shape[axis] = Int.random(in: 1...4, using: &random)
            guard shape.reduce(plain.dtype.bitWidth, *) % 8 == 0 else { return }
            others.append(try ExpressionTree(leaf: plain.dtype, shape: shape, using: &random))
        }
        others.append(self)
        others.shuffle(using: &random)
        text = #"{"op":"concatenate","of":[\#(others.map(\.text).joined(separator: ","))],"axis":\#(axis)}"#
        plain = .concatenated(others.map(\.plain), axis: axis)
        lazy = try .concatenated(others.map(\.lazy), axis: axis)
    }

    private mutating func cast(_ dtype: DType) throws {
        text = #"{"op":"cast","of":\#(text),"dtype":"\#(dtype.name)"}"#
        plain = plain.cast(to: dtype)
        lazy = try lazy.cast(to: dtype)
    }

    private mutating func reshape(using random: inout SeededRandom) throws {
        var shape: [Int] = []
        var rest = plain.codes.count
        while rest > 1 {
            let factors = (2...rest).filter { rest % $0 == 0 }.prefix(4)
            let factor = factors.randomElement(using: &random) ?? rest
            shape.append(factor)
            rest /= factor
        }
        if plain.codes.isEmpty { shape = [3, 0] }
        shape.shuffle(using: &random)
        text = #"{"op":"reshape","of":\#(text),"shape":\#(shape)}"#
        plain.shape = shape
        lazy = try lazy.reshaped(to: shape.map(UInt64.init))
    }

    private static let results: [DType] = [.f32, .f16, .bf16, .f64]

    private mutating func updateLowRank(using random: inout SeededRandom) throws {
        guard plain.shape.count == 2, PlainTensor.floats.contains(plain.dtype) else { return }
        let rank = Int.random(in: 0...9, using: &random)
        let b = try ExpressionTree(leaf: .bf16, shape: [plain.shape[0], rank], using: &random)
        let a = try ExpressionTree(leaf: .f32, shape: [rank, plain.shape[1]], using: &random)
        let scale = Float.random(in: -1...1, using: &random)
        let dtype = Self.results.randomElement(using: &random) ?? .f32
        text =
            #"{"op":"update","of":\#(text),"b":\#(b.text),"a":\#(a.text),"scale":\#(scale.bitPattern),"dtype":"\#(dtype.name)"}"#
        plain = .lowRank(plain, b.plain, a.plain, scale: scale, dtype: dtype)
        lazy = try .lowRankUpdated(lazy, b: b.lazy, a: a.lazy, scale: scale, dtype: dtype)
    }

    private mutating func dequantise(using random: inout SeededRandom) throws {
        guard PlainTensor.floats.contains(plain.dtype) else { return }
        let block = plain.shape.map { _ in [1, 2, 3, 4, 32].randomElement(using: &random) ?? 1 }
        let shape = zip(plain.shape, block).map { ($0 + $1 - 1) / $1 }
        let kinds: [DType] = [.f32, .bf16, .f8E8M0, .f8E4M3]
        let scales = try ExpressionTree(
            leaf: kinds.randomElement(using: &random) ?? .f32, shape: shape, using: &random)
        let dtype = Self.results.randomElement(using: &random) ?? .f32
        text =
            #"{"op":"dequantise","of":\#(text),"scales":\#(scales.text),"block":\#(block),"dtype":"\#(dtype.name)"}"#
        plain = .dequantised(plain, scales.plain, block: block, dtype: dtype)
        lazy = try .blockDequantised(
            lazy, scales: scales.lazy, block: block.map(UInt64.init), dtype: dtype)
    }
}

/// Bytes in memory that remember which of them were read.
final class RecordingSource: ByteSource {
    let name = "recording"
    let contents: [UInt8]
    let log = Monitor<[Range<UInt64>]>([])
    let readCost: Int
    var byteCount: UInt64 { UInt64(contents.count) }
    var reads: [Range<UInt64>] { log.withLock { $0 } }

    init(contents: [UInt8], readCost: Int = 8192) {
        self.contents = contents
        self.readCost = readCost
    }

    func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(IOError) {
        let range = offset..<offset + UInt64(buffer.byteCount)
        log.withLock { $0.append(range) }
        try MemorySource(name: name, contents: contents).read(at: offset, into: &buffer)
    }
}
