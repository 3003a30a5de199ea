internal import Checkpoints
internal import StrictJSON
internal import Synchronization
internal import TensorCore

/// Numbers packed as varints, each cut to the low bytes of an element.
///
/// Their places depend on all that come before, so the first read notes where every so-manieth begins.
final class PackedVarints: ComputedTensor {
    let operation = "varints_unpacked"
    let byteCount: UInt64
    let granularity: Int
    private let payload: Extent
    private let count: Int
    /// Where each block begins in the payload; empty before the first read.
    private let index = Mutex<[UInt64]>([])

    /// The elements of a block.
    private static let blockCount = 4096
    private static let windowByteCount = 64 << 10

    /// - Parameters:
    ///   - payload: the numbers.
    ///   - count: how many there are said to be.
    ///   - width: the bytes of an element.
    init(payload: Extent, count: Int, width: Int) {
        self.payload = payload
        self.count = count
        granularity = width
        byteCount = UInt64(count * width)
    }

    var parameters: [JSONMember] { [] }
    var inputs: [TensorSource] { [.extent(payload)] }

    /// Notes where blocks begin, and checks that there are as many numbers as there should be.
    func prepare() throws(IOError) { _ = try blocks() }

    private func blocks() throws(IOError) -> [UInt64] {
        let known = index.withLock { $0 }
        if !known.isEmpty || count == 0 { return known }
        var starts: [UInt64] = [0]
        var found = 0
        var isInside = false
        for start in stride(from: UInt64(0), to: payload.byteCount, by: Self.windowByteCount) {
            let size = Int(min(UInt64(Self.windowByteCount), payload.byteCount - start))
            let window = try payload.source.bytes(at: payload.offset + start, count: size)
            for (position, byte) in window.enumerated() {
                isInside = byte >= 0x80
                if isInside { continue }
                found += 1
                if found % Self.blockCount == 0 { starts.append(start + UInt64(position) + 1) }
            }
        }
        guard found == count, !isInside else {
            throw failure("\(found) numbers stand where the shape needs \(count)")
        }
        index.withLock { $0 = starts }
        return starts
    }

    private func failure(_ detail: String) -> IOError {
        IOError(
            .unexpectedEnd, path: payload.source.name, operation: "decode", offset: payload.offset,
            detail: detail)
    }

    func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(IOError) {
        let starts = try blocks()
        let first = Int(offset) / granularity
        let end = first + buffer.byteCount / granularity
        for block in first / Self.blockCount...(end - 1) / Self.blockCount {
            let start = starts[block]
            let stop = block + 1 < starts.count ? starts[block + 1] : payload.byteCount
            let base = block * Self.blockCount
            // Ten bytes at most are one number; what is longer is caught below.
            guard stop - start <= UInt64(Self.blockCount * 10) else {
                throw failure("a number beyond 64 bits")
            }
            let bytes = try payload.source.bytes(at: payload.offset + start, count: Int(stop - start))
            guard
                Varints.decode(
                    bytes.span.bytesView, width: granularity, skipping: max(0, first - base),
                    count: min(end, base + Self.blockCount) - max(first, base), into: &buffer,
                    at: (max(first, base) - first) * granularity)
            else { throw failure("a number beyond 64 bits") }
        }
    }
}
