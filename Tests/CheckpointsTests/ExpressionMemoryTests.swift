import Checkpoints
import Glibc
import TensorCore
import Testing

/// A file that is too large to exist: each 32-bit word is computed from its number.
private struct ComputedSource: ByteSource {
    let name = "computed"
    let byteCount: UInt64

    /// A finite F32 between one and two.
    static func word(_ index: UInt64) -> UInt32 {
        0x3F80_0000 | UInt32(truncatingIfNeeded: (index &* 0x9E37_79B9_7F4A_7C15) >> 41)
    }

    func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(IOError) {
        guard offset <= byteCount, UInt64(buffer.byteCount) <= byteCount - offset else {
            throw IOError(.unexpectedEnd, path: name, operation: "read", offset: offset)
        }
        precondition(offset % 4 == 0 && buffer.byteCount % 4 == 0)
        for index in 0..<buffer.byteCount / 4 {
            buffer.storeBytes(
                of: Self.word(offset / 4 + UInt64(index)).littleEndian, toByteOffset: index * 4,
                as: UInt32.self)
        }
    }
}

/// In its own process, as other tests would be measured too.
@Suite struct ExpressionMemoryTests {
    /// The most memory that this process has had, in bytes.
    private static var peak: Int {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        return usage.ru_maxrss * 1024
    }

    @Test func `a tensor of 20 GB is cast and permuted in the memory of a piece`() async {
        await #expect(processExitsWith: .success) {
            let (rows, columns): (UInt64, UInt64) = (50_000, 100_000)
            let file = ComputedSource(byteCount: rows * columns * 4)
            let stored = try TensorExpression(
                dtype: .f32, shape: [rows, columns],
                source: .extent(Extent(source: file, offset: 0, byteCount: file.byteCount)))
            let turned = try stored.transposed().cast(to: .bf16)
            let cast = try stored.cast(to: .bf16)
            let blocks = try stored.reshaped(to: [50, 1000, 100, 1000]).permuted([2, 0, 3, 1])
            let update = try TensorExpression.lowRankUpdated(
                stored, b: .filled(with: 0.5, dtype: .bf16, shape: [rows, 4]),
                a: .filled(with: 2, dtype: .bf16, shape: [4, columns]), scale: 0.25)
            let pieceByteCount = 4 << 20
            _ = try ExpressionTests.read(cast.source, at: 0, count: pieceByteCount)
            let before = ExpressionMemoryTests.peak
            var random = SeededRandom(seed: 3)
            for expression in [turned, cast, blocks, update] {
                let width = UInt64(expression.dtype.bitWidth / 8)
                let count = pieceByteCount / Int(width)
                let first = UInt64.random(in: 0..<rows * columns - UInt64(count), using: &random)
                let piece = try ExpressionTests.read(
                    expression.source, at: Int(first * width), count: pieceByteCount)
                // Some elements of it, from the first principles.
                for index in stride(from: 0, to: count, by: 9973) {
                    let place = first + UInt64(index)
                    let stored =
                        switch expression.shape {
                        case [columns, rows]: place % rows * columns + place / rows
                        case [rows, columns]: place
                        default:
                            (place / 1_000_000 % 50 * 1000 + place % 1000) * columns
                                + place / 50_000_000 * 1000 + place / 1000 % 1000
                        }
                    var word = ComputedSource.word(stored)
                    if expression.source.extents.count == 1, case .lowRank = expression.source {
                        // 0.25 · (4 · 0.5 · 2) is one.
                        word = (Float(bitPattern: word) + 1).bitPattern
                    }
                    if width == 2 { word = UInt32(nearestBF16(word)) }
                    let bytes = piece[index * Int(width)..<(index + 1) * Int(width)]
                    precondition(bytes.reversed().reduce(0) { $0 << 8 | UInt32($1) } == word)
                }
            }
            // The pieces themselves, twice, and what a node may take; 20 GB would be 600 times as much.
            let limit = 2 * pieceByteCount + TensorSource.scratchByteCount
            precondition(ExpressionMemoryTests.peak - before <= limit)
        }
    }
}

/// The BF16 nearest to a finite F32, ties to even.
private func nearestBF16(_ bits: UInt32) -> UInt16 {
    UInt16((bits + 0x7FFF + (bits >> 16 & 1)) >> 16)
}
