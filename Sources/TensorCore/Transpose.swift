/// Transposition of matrices in memory, by tiles that are turned within vector registers.
///
/// Elements are moved, never interpreted.
enum Transpose {
    /// Where a matrix lies in bytes: its first element, and what is between the starts of neighbouring rows.
    struct Place {
        var offset: Int
        var rowByteCount: Int
    }

    /// Writes element `[i, j]` of `source` to `[j, i]` of `destination`.
    ///
    /// - Parameters:
    ///   - width: bytes an element takes.
    ///   - rows: the rows of the source.
    ///   - columns: its columns, which follow each other without gaps, as do those of the destination.
    static func copy(
        width: Int, rows: Int, columns: Int, from source: RawSpan, _ from: Place,
        to destination: inout MutableRawSpan, _ to: Place
    ) {
        switch width {
        case 1: turn(SIMD16<UInt8>.self, rows, columns, source, from, &destination, to)
        case 2: turn(SIMD8<UInt16>.self, rows, columns, source, from, &destination, to)
        case 4: turn(SIMD4<UInt32>.self, rows, columns, source, from, &destination, to)
        case 8: turn(SIMD2<UInt64>.self, rows, columns, source, from, &destination, to)
        default:
            for column in 0..<columns {
                for row in 0..<rows {
                    copyBytes(
                        from: source, at: from.offset + row * from.rowByteCount + column * width,
                        to: &destination, at: to.offset + column * to.rowByteCount + row * width, count: width
                    )
                }
            }
        }
    }

    /// Rows of the source that are walked together: their cache lines are used up before they are left.
    private static var bandRowCount: Int { 256 }

    @inline(__always)
    private static func turn<V: Tile>(
        _: V.Type, _ rows: Int, _ columns: Int, _ source: RawSpan, _ from: Place,
        _ destination: inout MutableRawSpan, _ to: Place
    ) {
        let side = V.scalarCount
        let width = MemoryLayout<V.Scalar>.size
        let wholeRows = rows - rows % side
        let wholeColumns = columns - columns % side
        for band in stride(from: 0, to: wholeRows, by: bandRowCount) {
            let bandEnd = min(wholeRows, band + bandRowCount)
            for column in stride(from: 0, to: wholeColumns, by: side) {
                var input = from.offset + band * from.rowByteCount + column * width
                var output = to.offset + column * to.rowByteCount + band * width
                for _ in stride(from: band, to: bandEnd, by: side) {
                    turnTile(
                        V.self, source, input, from.rowByteCount, &destination, output, to.rowByteCount)
                    input += side * from.rowByteCount
                    output += side * width
                }
            }
        }
        // What is left at the edges.
        for row in 0..<rows {
            for column in (row < wholeRows ? wholeColumns : 0)..<columns {
                let value = unsafe source.unsafeLoadUnaligned(
                    fromByteOffset: from.offset + row * from.rowByteCount + column * width, as: V.Scalar.self)
                destination.storeBytes(
                    of: value, toByteOffset: to.offset + column * to.rowByteCount + row * width,
                    as: V.Scalar.self)
            }
        }
    }

    @inline(__always)
    private static func turnTile<V: Tile>(
        _: V.Type, _ source: RawSpan, _ input: Int, _ inputStep: Int,
        _ destination: inout MutableRawSpan, _ output: Int, _ outputStep: Int
    ) {
        let side = V.scalarCount
        var rows = [16 of V](repeating: V())
        for index in 0..<side {
            // Bounds are checked by the span; any bits are a value.
            rows[index] = unsafe source.unsafeLoadUnaligned(
                fromByteOffset: input + index * inputStep, as: V.self)
        }
        // Each round interleaves the first half of the rows with the second; log2(side) rounds transpose.
        var rounds = side
        while rounds > 1 {
            var next = [16 of V](repeating: V())
            for index in 0..<side / 2 {
                let pair = rows[index].zipped(with: rows[index + side / 2])
                next[2 * index] = pair.low
                next[2 * index + 1] = pair.high
            }
            rows = next
            rounds /= 2
        }
        for index in 0..<side {
            destination.storeBytes(of: rows[index], toByteOffset: output + index * outputStep, as: V.self)
        }
    }
}

/// A register of 16 bytes that holds as many elements as a tile has rows.
private protocol Tile: SIMD, BitwiseCopyable where Scalar: BitwiseCopyable {
    /// The elements of both in turns.
    func zipped(with other: Self) -> (low: Self, high: Self)
}

extension SIMD16: Tile where Scalar == UInt8 {
    @inline(__always)
    fileprivate func zipped(with other: Self) -> (low: Self, high: Self) {
        var low = Self()
        var high = Self()
        low.evenHalf = lowHalf
        low.oddHalf = other.lowHalf
        high.evenHalf = highHalf
        high.oddHalf = other.highHalf
        return (low, high)
    }
}

extension SIMD8: Tile where Scalar == UInt16 {
    @inline(__always)
    fileprivate func zipped(with other: Self) -> (low: Self, high: Self) {
        var low = Self()
        var high = Self()
        low.evenHalf = lowHalf
        low.oddHalf = other.lowHalf
        high.evenHalf = highHalf
        high.oddHalf = other.highHalf
        return (low, high)
    }
}

extension SIMD4: Tile where Scalar == UInt32 {
    @inline(__always)
    fileprivate func zipped(with other: Self) -> (low: Self, high: Self) {
        (Self(x, other.x, y, other.y), Self(z, other.z, w, other.w))
    }
}

extension SIMD2: Tile where Scalar == UInt64 {
    @inline(__always)
    fileprivate func zipped(with other: Self) -> (low: Self, high: Self) {
        (Self(x, other.x), Self(y, other.y))
    }
}
