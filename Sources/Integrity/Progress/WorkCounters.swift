internal import Synchronization

/// What a piece of work has done so far, counted from any thread.
public final class WorkCounters: Sendable {
    private let read = Atomic<UInt64>(0)
    private let written = Atomic<UInt64>(0)
    private let hashed = Atomic<UInt64>(0)
    private let done = Atomic<Int>(0)
    private let expected = Atomic<Int>(0)

    /// Makes counters at zero.
    public init() {}

    /// Bytes that came out of sources, after conversion where there is one.
    public var readByteCount: UInt64 { read.load(ordering: .relaxed) }
    /// Bytes that were written.
    public var writtenByteCount: UInt64 { written.load(ordering: .relaxed) }
    /// Bytes that were digested.
    public var hashedByteCount: UInt64 { hashed.load(ordering: .relaxed) }
    /// Items, such as files, that are done.
    public var doneItemCount: Int { done.load(ordering: .relaxed) }
    /// Items that there are to do.
    public var expectedItemCount: Int { expected.load(ordering: .relaxed) }

    /// Counts bytes that were read.
    public func didRead(_ byteCount: Int) { read.add(UInt64(byteCount), ordering: .relaxed) }
    /// Counts bytes that were written.
    public func didWrite(_ byteCount: Int) { written.add(UInt64(byteCount), ordering: .relaxed) }
    /// Counts bytes that were digested.
    public func didHash(_ byteCount: Int) { hashed.add(UInt64(byteCount), ordering: .relaxed) }
    /// Counts an item that is done.
    public func didFinishItem() { done.add(1, ordering: .relaxed) }
    /// Counts items that there are to do.
    public func expect(items count: Int) { expected.add(count, ordering: .relaxed) }
}
