/// A page-aligned block of memory that is used again and again.
///
/// Not `Sendable` by itself: whoever passes one between threads does it under a lock.
@safe
public final class PageBuffer: @unchecked Sendable {
    private let base: UnsafeMutableRawPointer
    /// The size, in bytes.
    public let capacity: Int

    /// Allocates `capacity` bytes of zeros' worth of address space; pages become real when touched.
    public init(capacity: Int) {
        unsafe base = UnsafeMutableRawPointer.allocate(byteCount: max(1, capacity), alignment: 4096)
        self.capacity = capacity
    }

    deinit { unsafe base.deallocate() }

    /// Runs `body` with the first `count` bytes, to write.
    public func withMutableBytes<R, E: Error>(
        count: Int, _ body: (inout MutableRawSpan) throws(E) -> R
    ) throws(E) -> R {
        precondition(count >= 0 && count <= capacity)
        var span = unsafe MutableRawSpan(_unsafeStart: base, byteCount: count)
        return try body(&span)
    }

    /// Runs `body` with the first `count` bytes, to read.
    public func withBytes<R, E: Error>(
        count: Int, _ body: (RawSpan) throws(E) -> R
    ) throws(E) -> R {
        precondition(count >= 0 && count <= capacity)
        return try body(unsafe RawSpan(_unsafeStart: base, byteCount: count))
    }
}
