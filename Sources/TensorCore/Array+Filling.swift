internal import Glibc

extension Array where Element: BitwiseCopyable {
    /// An array whose memory `body` writes, without a first pass that sets it to zero.
    ///
    /// - Parameters:
    ///   - count: the number of elements; the caller has checked that they fit the memory.
    ///   - body: writes every byte; what it leaves out has no defined value. Where it throws, nothing is made.
    public init<E: Error>(
        count: Int, filling body: (inout MutableRawSpan) throws(E) -> Void
    ) throws(E) {
        unsafe try self.init(unsafeUninitializedCapacity: count) { (buffer, initialized) throws(E) in
            // Sound: the elements are bit patterns and the span covers exactly the memory of `count` of them.
            let bytes = unsafe UnsafeMutableRawBufferPointer(
                start: buffer.baseAddress, count: count * MemoryLayout<Element>.stride)
            unsafe preferLargePages(bytes)
            var span = unsafe MutableRawSpan(_unsafeBytes: bytes)
            try body(&span)
            initialized = count
        }
    }

    /// An array of zeros in large pages, for tables that are reached at random places.
    public init(zeros count: Int) {
        self.init(count: count) { bytes in
            unsafe bytes.withUnsafeMutableBytes { bytes in
                if let base = bytes.baseAddress { unsafe memset(base, 0, bytes.count) }
            }
        }
    }
}

/// Asks for large pages, which take hundreds of times fewer page faults; small blocks are left alone.
private func preferLargePages(_ bytes: UnsafeMutableRawBufferPointer) {
    let page = 4096
    guard bytes.count >= 4 << 20, let base = bytes.baseAddress else { return }
    let skipped = (page - Int(bitPattern: base) % page) % page
    // Only advice: where it is not taken, nothing is lost.
    _ = unsafe madvise(base + skipped, (bytes.count - skipped) / page * page, MADV_HUGEPAGE)
}
