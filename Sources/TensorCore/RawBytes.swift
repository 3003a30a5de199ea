internal import Glibc

/// The few unsafe steps between spans and their bytes, in one place.
///
/// Sound because every access below is bounds-checked first and element types are `BitwiseCopyable`.

extension Span where Element: BitwiseCopyable {
    /// The bytes of the elements.
    public var bytesView: RawSpan {
        @_lifetime(copy self)
        get { RawSpan(_elements: self) }
    }
}

extension RawSpan {
    /// The integer stored little-endian at byte `offset`.
    ///
    /// Traps where the span has no such bytes.
    @inlinable
    public func load<T: FixedWidthInteger & BitwiseCopyable>(
        littleEndian type: T.Type, at offset: Int
    ) -> T {
        T(littleEndian: unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: T.self))
    }

    /// The byte at `offset`.
    ///
    /// Traps where there is none.
    @inlinable
    public subscript(offset: Int) -> UInt8 { unsafe unsafeLoad(fromByteOffset: offset, as: UInt8.self) }

    /// The bytes as an array.
    public func array() -> [UInt8] {
        unsafe withUnsafeBytes { unsafe Array($0) }
    }

    /// A typed view without a copy, or nil where the address is not aligned for `T` or the size is not a
    /// whole number of elements.
    @inlinable
    @_lifetime(copy self)
    public func view<T: BitwiseCopyable>(as type: T.Type) -> Span<T>? {
        let aligned = unsafe withUnsafeBytes { bytes in
            unsafe bytes.baseAddress.map { Int(bitPattern: $0) % MemoryLayout<T>.alignment == 0 } ?? true
        }
        guard aligned, byteCount % MemoryLayout<T>.stride == 0 else { return nil }
        return Span(_bytes: self)
    }
}

/// Whether two spans hold the same bytes.
public func areEqual(_ a: RawSpan, _ b: RawSpan) -> Bool {
    guard a.byteCount == b.byteCount else { return false }
    return unsafe a.withUnsafeBytes { first in
        unsafe b.withUnsafeBytes { second in
            unsafe first.isEmpty || memcmp(first.baseAddress!, second.baseAddress!, first.count) == 0
        }
    }
}

/// Copies `source` to the start of `destination`.
///
/// Traps where it does not fit.
public func copyBytes(from source: RawSpan, to destination: inout MutableRawSpan) {
    precondition(source.byteCount <= destination.byteCount)
    unsafe destination.withUnsafeMutableBytes { target in
        unsafe source.withUnsafeBytes { bytes in unsafe target.copyMemory(from: bytes) }
    }
}

/// Copies `count` bytes of `source` from `sourceOffset` to `destinationOffset` of `destination`.
///
/// Traps where either range does not fit.
public func copyBytes(
    from source: RawSpan, at sourceOffset: Int, to destination: inout MutableRawSpan,
    at destinationOffset: Int, count: Int
) {
    let part = source.extracting(sourceOffset..<sourceOffset + count)
    var target = destination._mutatingExtracting(destinationOffset..<destinationOffset + count)
    copyBytes(from: part, to: &target)
}
