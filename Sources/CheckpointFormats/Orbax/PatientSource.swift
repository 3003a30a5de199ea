internal import Glibc
internal import Synchronization
internal import TensorCore

/// A stream that is read forward by several threads, each of which waits its turn.
///
/// Threads that share the pieces of a tensor ask for them nearly in order. One that comes early would drag the stream
/// past what the others still need, which would then begin again at its start; so it waits while the others get on.
final class PatientSource: ByteSource {
    private struct State {
        /// Where the stream was read up to without a gap.
        var position: UInt64 = 0
        /// What was read beyond, in ascending order.
        var ahead: [Range<UInt64>] = []
        var lastRead = ContinuousClock.now

        mutating func note(_ range: Range<UInt64>, isJump: Bool) {
            lastRead = .now
            if isJump {
                position = range.lowerBound
                ahead = []
            }
            ahead.insert(range, at: ahead.firstIndex { $0.lowerBound > range.lowerBound } ?? ahead.count)
            while let next = ahead.first, next.lowerBound <= position {
                position = max(position, next.upperBound)
                ahead.removeFirst()
            }
        }
    }

    private let stream: any ByteSource
    private let state = Mutex(State())

    /// How far ahead is near enough.
    private static let slack: UInt64 = 1 << 20
    /// How long the others may pause before nobody waits for them.
    private static let pause = Duration.milliseconds(100)
    /// The longest that anyone waits.
    private static let patience = Duration.seconds(2)

    init(_ stream: any ByteSource) { self.stream = stream }

    var name: String { stream.name }
    var byteCount: UInt64 { stream.byteCount }
    var readCost: Int { stream.readCost }

    func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(IOError) {
        let start = ContinuousClock.now
        var isJump = false
        while true {
            let isTurn = state.withLock { state in
                if offset <= state.position + Self.slack { return true }
                let now = ContinuousClock.now
                isJump = now - state.lastRead > Self.pause || now - start > Self.patience
                return isJump
            }
            if isTurn { break }
            usleep(200)
        }
        try stream.read(at: offset, into: &buffer)
        let range = offset..<offset + UInt64(buffer.byteCount)
        state.withLock { $0.note(range, isJump: isJump) }
    }
}
