/// How far two runs of numbers lie from each other.
///
/// Two NaN are taken for equal, as are infinities of one sign and zeros of either. A NaN beside a number makes them
/// different, without a distance; an infinity beside another number makes the distance infinite.
public struct ElementComparison: Sendable, Equatable {
    /// What one side has of values that are no finite numbers.
    public struct Odd: Sendable, Equatable {
        /// NaNs.
        public var nans: UInt64 = 0
        /// Infinities.
        public var infinities: UInt64 = 0
    }

    /// Pairs of values; those of a complex number are two.
    public private(set) var count: UInt64 = 0
    /// Pairs that are different.
    public private(set) var differing: UInt64 = 0
    /// Pairs of a NaN and a number.
    public private(set) var unmatchedNaNs: UInt64 = 0
    /// The largest distance.
    public private(set) var largest = 0.0
    /// The largest distance as a part of the larger of the two values.
    public private(set) var largestRelative = 0.0
    /// What the first side has of values that are no finite numbers.
    public private(set) var oddA = Odd()
    /// What the second side has of them.
    public private(set) var oddB = Odd()
    private var sum = 0.0
    private var sumOfSquares = 0.0
    private var ownSumOfSquares = 0.0

    /// Makes a comparison of nothing.
    public init() {}

    /// The mean distance of all pairs.
    public var mean: Double { count == 0 ? 0 : sum / Double(count) }

    /// The root of the mean square of the distances.
    public var rootMeanSquare: Double { count == 0 ? 0 : (sumOfSquares / Double(count)).squareRoot() }

    /// The length of the difference as a part of the length of the first side; nil where that is zero.
    public var relative: Double? {
        if sumOfSquares == 0 { return 0 }
        return ownSumOfSquares > 0 ? (sumOfSquares / ownSumOfSquares).squareRoot() : nil
    }

    /// Adds as many pairs as each side has values.
    ///
    /// - Precondition: both have as many.
    public mutating func add(_ a: Span<Double>, _ b: Span<Double>) {
        precondition(a.count == b.count)
        var part = ElementComparison()
        for index in a.indices {
            let (x, y) = (a[index], b[index])
            let distance = (x - y).magnitude
            guard distance.isFinite else {
                part.addOdd(x, y)
                continue
            }
            part.ownSumOfSquares += x * x
            if distance == 0 { continue }
            part.differing += 1
            part.sum += distance
            part.sumOfSquares += distance * distance
            part.largest = max(part.largest, distance)
            part.largestRelative = max(part.largestRelative, distance / max(x.magnitude, y.magnitude))
        }
        part.count = UInt64(a.count)
        add(part)
    }

    /// Adds a pair that has no finite distance.
    private mutating func addOdd(_ x: Double, _ y: Double) {
        if x.isNaN { oddA.nans += 1 }
        if y.isNaN { oddB.nans += 1 }
        if x.isInfinite { oddA.infinities += 1 }
        if y.isInfinite { oddB.infinities += 1 }
        if x == y || x.isNaN && y.isNaN { return }
        differing += 1
        if x.isNaN || y.isNaN {
            unmatchedNaNs += 1
        } else {
            (largest, largestRelative, sum, sumOfSquares) = (.infinity, .infinity, .infinity, .infinity)
        }
    }

    /// Adds what was found in other pairs.
    public mutating func add(_ other: ElementComparison) {
        count += other.count
        differing += other.differing
        unmatchedNaNs += other.unmatchedNaNs
        largest = max(largest, other.largest)
        largestRelative = max(largestRelative, other.largestRelative)
        oddA = Odd(
            nans: oddA.nans + other.oddA.nans, infinities: oddA.infinities + other.oddA.infinities)
        oddB = Odd(
            nans: oddB.nans + other.oddB.nans, infinities: oddB.infinities + other.oddB.infinities)
        sum += other.sum
        sumOfSquares += other.sumOfSquares
        ownSumOfSquares += other.ownSumOfSquares
    }
}

extension ElementComparison {
    /// Adds the elements of two runs of bytes.
    ///
    /// - Precondition: both are whole elements, and as many values.
    public mutating func add(_ a: RawSpan, _ dtypeA: DType, _ b: RawSpan, _ dtypeB: DType) {
        let total = ElementCodec.valueCount(dtypeA, byteCount: a.byteCount)
        guard let total, total == ElementCodec.valueCount(dtypeB, byteCount: b.byteCount) else {
            preconditionFailure("the sides have not as many values")
        }
        let block = 4096
        var left = [Double](repeating: 0, count: min(block, total))
        var right = left
        for start in stride(from: 0, to: total, by: block) {
            let count = min(block, total - start)
            Self.decode(a, dtypeA, start, into: &left, count: count)
            Self.decode(b, dtypeB, start, into: &right, count: count)
            add(left.span.extracting(0..<count), right.span.extracting(0..<count))
        }
    }

    private static func decode(
        _ bytes: RawSpan, _ dtype: DType, _ start: Int, into values: inout [Double], count: Int
    ) {
        let bits = dtype == .c64 ? 32 : dtype.bitWidth
        var span = values.mutableSpan
        var target = span._mutatingExtracting(0..<count)
        let part = bytes.extracting(start * bits / 8..<(start + count) * bits / 8)
        ElementCodec.decode(part, dtype, into: &target)
    }

    /// Whether two runs of bytes are the same.
    public static func areEqual(_ a: RawSpan, _ b: RawSpan) -> Bool {
        guard a.byteCount == b.byteCount else { return false }
        let words = a.byteCount / 8
        for index in 0..<words {
            let (x, y) = (
                a.load(littleEndian: UInt64.self, at: index * 8),
                b.load(littleEndian: UInt64.self, at: index * 8)
            )
            if x != y { return false }
        }
        for index in words * 8..<a.byteCount where a[index] != b[index] { return false }
        return true
    }
}
