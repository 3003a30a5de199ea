/// How the numbers of two tensors differ.
///
/// Complex numbers count as two. Numbers are compared as `Double`, so those of I64 and U64 beyond 2^53 by their
/// nearest; how many of these differ is exact all the same where both have one dtype.
public struct ElementDifference: Sendable, Equatable {
    /// The numbers that were compared.
    public var count: UInt64 = 0
    /// Those that are not equal; NaN equals NaN, and the zeros each other.
    public var differing: UInt64 = 0
    /// Those that are not finite on one side, or infinite in two directions, so that they have no distance.
    public var incomparable: UInt64 = 0
    /// The largest distance.
    public var maximum = 0.0
    /// The sum of all distances.
    public var sum = 0.0
    /// The sum of their squares.
    public var squares = 0.0
    /// The sum of the squares of the first tensor's finite numbers.
    public var squaresOfFirst = 0.0
    /// NaNs of the first tensor.
    public var nansInFirst: UInt64 = 0
    /// Infinities of the first tensor.
    public var infinitiesInFirst: UInt64 = 0
    /// NaNs of the second tensor.
    public var nansInSecond: UInt64 = 0
    /// Infinities of the second tensor.
    public var infinitiesInSecond: UInt64 = 0

    /// Nothing compared yet.
    public init() {}

    /// The mean distance of those that have one.
    public var mean: Double { count > incomparable ? sum / Double(count - incomparable) : 0 }

    /// The length of the difference as a part of the first tensor's; nil where that has none.
    public var relative: Double? {
        squaresOfFirst > 0 ? squares.squareRoot() / squaresOfFirst.squareRoot() : squares > 0 ? nil : 0
    }

    /// Adds what was found elsewhere.
    public mutating func add(_ other: ElementDifference) {
        count += other.count
        differing += other.differing
        incomparable += other.incomparable
        maximum = max(maximum, other.maximum)
        sum += other.sum
        squares += other.squares
        squaresOfFirst += other.squaresOfFirst
        nansInFirst += other.nansInFirst
        infinitiesInFirst += other.infinitiesInFirst
        nansInSecond += other.nansInSecond
        infinitiesInSecond += other.infinitiesInSecond
    }
}

extension ElementDifference {
    /// The numbers that are decoded at once.
    private static let blockCount = 8192

    /// Compares elements.
    ///
    /// - Parameters:
    ///   - first: whole elements of the first tensor.
    ///   - firstDType: their dtype.
    ///   - second: as many of the second.
    ///   - secondDType: their dtype; complex where the other is.
    public init(_ first: RawSpan, _ firstDType: DType, _ second: RawSpan, _ secondDType: DType) {
        self.init()
        let total = ElementCodec.valueCount(firstDType, byteCount: first.byteCount) ?? 0
        precondition(total == ElementCodec.valueCount(secondDType, byteCount: second.byteCount))
        var (a, b) = (
            [Double](repeating: 0, count: Self.blockCount), [Double](repeating: 0, count: Self.blockCount)
        )
        for start in stride(from: 0, to: total, by: Self.blockCount) {
            let numbers = min(Self.blockCount, total - start)
            func part(_ dtype: DType, _ bytes: Int) -> Range<Int> {
                let bits = dtype == .c64 ? 32 : dtype.bitWidth
                return start * bits / 8..<(start + numbers == total ? bytes : (start + numbers) * bits / 8)
            }
            let firstPart = first.extracting(part(firstDType, first.byteCount))
            let secondPart = second.extracting(part(secondDType, second.byteCount))
            Self.decode(firstPart, firstDType, numbers, into: &a)
            Self.decode(secondPart, secondDType, numbers, into: &b)
            add(a.span.extracting(first: numbers), b.span.extracting(first: numbers))
            if firstDType == secondDType, firstDType == .i64 || firstDType == .u64 {
                countWords(firstPart, secondPart, a.span, b.span)
            }
        }
    }

    private static func decode(_ bytes: RawSpan, _ dtype: DType, _ count: Int, into values: inout [Double]) {
        var span = values.mutableSpan
        var target = span._mutatingExtracting(0..<count)
        ElementCodec.decode(bytes, dtype, into: &target)
    }

    /// Counts words that differ although their nearest `Double` is one.
    private mutating func countWords(_ a: RawSpan, _ b: RawSpan, _ x: Span<Double>, _ y: Span<Double>) {
        for index in 0..<a.byteCount / 8 where x[index] == y[index] {
            let (first, second) = (
                a.load(littleEndian: UInt64.self, at: index * 8),
                b.load(littleEndian: UInt64.self, at: index * 8)
            )
            guard first != second else { continue }
            differing += 1
            let distance = Double(max(first, second) - min(first, second))
            maximum = max(maximum, distance)
            sum += distance
            squares += distance * distance
        }
    }

    private mutating func add(_ a: Span<Double>, _ b: Span<Double>) {
        precondition(a.count == b.count)
        var part = ElementDifference()
        for index in a.indices {
            let (x, y) = (a[index], b[index])
            let isSame = x == y || (x != x && y != y)
            let distance = isSame ? 0 : abs(x - y)
            let isUsable = distance < .infinity
            part.differing &+= isSame ? 0 : 1
            part.incomparable &+= isUsable ? 0 : 1
            let used = isUsable ? distance : 0
            part.maximum = used > part.maximum ? used : part.maximum
            part.sum += used
            part.squares += used * used
            let (sizeX, sizeY) = (abs(x), abs(y))
            part.squaresOfFirst += sizeX < .infinity ? sizeX * sizeX : 0
            part.nansInFirst &+= x != x ? 1 : 0
            part.nansInSecond &+= y != y ? 1 : 0
            part.infinitiesInFirst &+= sizeX == .infinity ? 1 : 0
            part.infinitiesInSecond &+= sizeY == .infinity ? 1 : 0
        }
        part.count = UInt64(a.count)
        add(part)
    }
}
