import Checkpoints
import TensorCore
import Testing

@Suite struct StridedViewTests {
    struct Sample: CustomStringConvertible {
        var width: Int
        var offset: Int
        var shape: [Int]
        var strides: [Int]
        var storage: [UInt8]

        var description: String { "width \(width), offset \(offset), shape \(shape), strides \(strides)" }

        /// A view that lies in a storage of random bytes.
        init(using random: inout SeededRandom) {
            width = [1, 2, 3, 4, 8, 16].randomElement(using: &random) ?? 1
            offset = Int.random(in: 0..<5, using: &random)
            shape = (0..<Int.random(in: 0...5, using: &random)).map { _ in
                Int.random(in: 1...7, using: &random)
            }
            if Int.random(in: 0..<12, using: &random) == 0 { shape.append(0) }
            strides = Self.strides(of: shape, using: &random)
            let last = zip(shape, strides).reduce(offset) { $0 + max(0, $1.0 - 1) * $1.1 }
            storage = (0..<(last + 1) * width).map { _ in .random(in: 0...255, using: &random) }
        }

        /// Those of a contiguous tensor, permuted, or anything at all.
        private static func strides(of shape: [Int], using random: inout SeededRandom) -> [Int] {
            if Bool.random(using: &random) {
                return shape.map { _ in [0, 1, 2, 3, 5, 40, 700].randomElement(using: &random) ?? 1 }
            }
            var result = shape
            var next = 1
            let order =
                Bool.random(using: &random)
                ? shape.indices.reversed() : shape.indices.map { $0 }.shuffled(using: &random)
            for axis in order {
                result[axis] = next
                next *= max(1, shape[axis])
            }
            return result
        }

        /// The elements one by one.
        func naive() -> [UInt8] {
            var result: [UInt8] = []
            let count = shape.reduce(1, *)
            for position in 0..<count {
                var rest = position
                var element = offset
                for axis in shape.indices.reversed() {
                    element += rest % shape[axis] * strides[axis]
                    rest /= shape[axis]
                }
                result += storage[element * width..<(element + 1) * width]
            }
            return result
        }

        func source(at place: UInt64 = 3) -> TensorSource {
            let file = MemorySource(
                name: "m", contents: [UInt8](repeating: 0xEE, count: Int(place)) + storage)
            return StridedView.source(
                storage: Extent(source: file, offset: place, byteCount: UInt64(storage.count)),
                elementByteCount: width, elementOffset: UInt64(offset), shape: shape.map(UInt64.init),
                strides: strides.map(UInt64.init))
        }
    }

    static func read(_ source: TensorSource, _ pieces: (Int) -> Int) throws -> [UInt8] {
        var result: [UInt8] = []
        while result.count < Int(source.byteCount) {
            let count = min(pieces(result.count), Int(source.byteCount) - result.count)
            var buffer = [UInt8](repeating: 0xAA, count: count)
            var span = buffer.mutableSpan
            var raw = MutableRawSpan(_elements: &span)
            try source.read(at: UInt64(result.count), into: &raw)
            result += buffer
        }
        return result
    }

    @Test func `a view has the elements that its strides pick, in pieces of any size`() throws {
        var random = SeededRandom(seed: 41)
        for _ in 0..<1500 {
            let sample = Sample(using: &random)
            let expected = sample.naive()
            let source = sample.source()
            #expect(source.byteCount == UInt64(expected.count))
            let whole = try Self.read(source) { _ in max(1, expected.count) }
            #expect(whole == expected, "\(sample)")
            let parts = try Self.read(source) { _ in sample.width * .random(in: 1...9, using: &random) }
            #expect(parts == expected, "\(sample)")
            // A piece from the middle.
            if expected.count > 2 * sample.width {
                let first = Int.random(in: 0..<expected.count / sample.width, using: &random)
                let count = Int.random(in: 1...expected.count / sample.width - first, using: &random)
                var buffer = [UInt8](repeating: 0, count: count * sample.width)
                var span = buffer.mutableSpan
                var raw = MutableRawSpan(_elements: &span)
                try source.read(at: UInt64(first * sample.width), into: &raw)
                #expect(
                    buffer == Array(expected[first * sample.width..<(first + count) * sample.width]),
                    "\(sample)")
            }
        }
    }

    @Test func `a contiguous view is an extent of the file`() {
        let file = MemorySource(name: "m", contents: [UInt8](repeating: 0, count: 100))
        let storage = Extent(source: file, offset: 4, byteCount: 96)
        let rows = StridedView.source(
            storage: storage, elementByteCount: 4, elementOffset: 6, shape: [2, 1, 3], strides: [3, 99, 1])
        #expect(rows.extent?.offset == 28)
        #expect(rows.extent?.byteCount == 24)
        let columns = StridedView.source(
            storage: storage, elementByteCount: 4, elementOffset: 0, shape: [3, 2], strides: [1, 3])
        #expect(columns.extent == nil)
    }

    @Test func `windows larger than one read are gathered in parts`() throws {
        // A transposed matrix of 3 MiB and a diagonal of one of 4 MiB.
        let bytes: [UInt8] = (0..<1 << 20).flatMap { (i: UInt32) -> [UInt8] in
            (0..<4).map { UInt8(truncatingIfNeeded: i >> ($0 * 8)) }
        }
        let storage = Extent(
            source: MemorySource(name: "m", contents: bytes), offset: 0, byteCount: UInt64(bytes.count))
        let transposed = StridedView.source(
            storage: storage, elementByteCount: 4, elementOffset: 0, shape: [1024, 768], strides: [1, 1024])
        let result = try Self.read(transposed) { _ in 333_336 }
        var wrong = 0
        for row in 0..<1024 {
            for column in 0..<768 {
                let at = (row * 768 + column) * 4
                let value = UInt32(result[at]) | UInt32(result[at + 1]) << 8 | UInt32(result[at + 2]) << 16
                if value != UInt32(column * 1024 + row) { wrong += 1 }
            }
        }
        #expect(wrong == 0)
        let diagonal = StridedView.source(
            storage: storage, elementByteCount: 4, elementOffset: 0, shape: [1024], strides: [1025])
        let picked = try Self.read(diagonal) { _ in 4096 }
        for index in 0..<1024 {
            #expect(picked[index * 4..<index * 4 + 4] == bytes[index * 4100..<index * 4100 + 4])
        }
    }

    @Test func `swapped bytes are the elements of a machine with the other order`() throws {
        var random = SeededRandom(seed: 5)
        for _ in 0..<100 {
            let sample = Sample(using: &random)
            let swapped = try Self.read(.byteSwapped(sample.source(), width: sample.width)) { _ in
                sample.width * 5
            }
            let plain = sample.naive()
            for start in stride(from: 0, to: plain.count, by: sample.width) {
                #expect(
                    Array(swapped[start..<start + sample.width].reversed())
                        == Array(plain[start..<start + sample.width]))
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
