internal import TensorCore

/// Copies elements from where strides lead to places that follow each other.
struct ElementGather {
    typealias Axis = TensorSelection.Axis

    /// Bits an element takes: 4, 6 or a power of two of whole bytes up to 64.
    let bitWidth: Int
    /// The axes that are walked, outermost first.
    let axes: [Axis]

    /// Copies all elements.
    ///
    /// - Parameters:
    ///   - source: holds them.
    ///   - origin: the bits before `source`, a multiple of eight; elements count from there.
    ///   - start: the first element.
    ///   - destination: takes them. Where elements are smaller than bytes it must be zero.
    ///   - position: the element of the destination where the first goes.
    func copy(
        from source: RawSpan, origin: Int, start: Int, into destination: inout MutableRawSpan,
        at position: Int
    ) {
        let inner = axes.last ?? Axis(count: 1, stride: 0)
        let outer = axes.dropLast()
        var indices = [Int](repeating: 0, count: outer.count)
        var element = start
        var place = position
        let rows = outer.reduce(1) { $0 * $1.count }
        for _ in 0..<rows {
            copyRow(inner, from: source, bit: element * bitWidth - origin, into: &destination, at: place)
            place += inner.count
            // The next row, counting like an odometer.
            for axis in outer.indices.reversed() {
                indices[axis] += 1
                element += outer[axis].stride
                if indices[axis] < outer[axis].count { break }
                element -= outer[axis].count * outer[axis].stride
                indices[axis] = 0
            }
        }
    }

    private func copyRow(
        _ row: Axis, from source: RawSpan, bit: Int, into destination: inout MutableRawSpan, at place: Int
    ) {
        guard bitWidth >= 8 else {
            return copyBits(row, from: source, bit: bit, into: &destination, at: place)
        }
        let width = bitWidth / 8
        if row.stride == 1 {
            return copyBytes(
                from: source, at: bit / 8, to: &destination, at: place * width, count: row.count * width)
        }
        switch width {
        case 1: copyElements(row, UInt8.self, from: source, at: bit / 8, into: &destination, at: place)
        case 2: copyElements(row, UInt16.self, from: source, at: bit / 8, into: &destination, at: place)
        case 4: copyElements(row, UInt32.self, from: source, at: bit / 8, into: &destination, at: place)
        default: copyElements(row, UInt64.self, from: source, at: bit / 8, into: &destination, at: place)
        }
    }

    @inline(__always)
    private func copyElements<T: FixedWidthInteger & BitwiseCopyable>(
        _ row: Axis, _: T.Type, from source: RawSpan, at offset: Int, into destination: inout MutableRawSpan,
        at place: Int
    ) {
        let width = MemoryLayout<T>.size
        for index in 0..<row.count {
            let value = source.load(littleEndian: T.self, at: offset + index * row.stride * width)
            destination.storeBytes(of: value.littleEndian, toByteOffset: (place + index) * width, as: T.self)
        }
    }

    /// The same for elements that share bytes, the first in the lowest bits.
    private func copyBits(
        _ row: Axis, from source: RawSpan, bit: Int, into destination: inout MutableRawSpan, at place: Int
    ) {
        let mask = UInt16(1) << UInt16(bitWidth) - 1
        for index in 0..<row.count {
            let from = bit + index * row.stride * bitWidth
            var pair = UInt16(source[from / 8])
            if from % 8 + bitWidth > 8 { pair |= UInt16(source[from / 8 + 1]) << 8 }
            let value = (pair >> UInt16(from % 8)) & mask
            let to = (place + index) * bitWidth
            let shifted = value << UInt16(to % 8)
            destination.add(bits: UInt8(truncatingIfNeeded: shifted), at: to / 8)
            if shifted > 0xFF { destination.add(bits: UInt8(shifted >> 8), at: to / 8 + 1) }
        }
    }
}

extension MutableRawSpan {
    /// Sets bits of the byte at `offset`.
    @_lifetime(self: copy self)
    fileprivate mutating func add(bits: UInt8, at offset: Int) {
        storeBytes(of: bytes[offset] | bits, toByteOffset: offset, as: UInt8.self)
    }
}
