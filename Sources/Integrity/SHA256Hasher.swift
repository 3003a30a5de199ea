internal import CDigest
internal import COpenSSL
internal import TensorCore

/// SHA-256 over bytes that come in pieces.
///
/// A value: a copy is a digest of its own from there on, and ``SHA256State`` can be kept and taken up again later.
/// Whole blocks are added by the processor's SHA instructions where this program has a loop for them, else by
/// OpenSSL.
public struct SHA256Hasher: Sendable {
    private var state: SHA256State
    private let isAccelerated: Bool

    /// Whether this processor has SHA instructions that this program uses.
    public static let isAccelerated = cdigest_sha256_supported()

    /// Starts a digest.
    public init() { self.init(SHA256State()) }

    /// Goes on from a state that was kept.
    public init(_ state: SHA256State) { self.init(state, accelerated: Self.isAccelerated) }

    init(_ state: SHA256State = SHA256State(), accelerated: Bool) {
        self.state = state
        isAccelerated = accelerated
    }

    /// What has been added so far.
    public var currentState: SHA256State { state }

    /// Adds bytes.
    public mutating func update(_ bytes: RawSpan) {
        let rest = fillPending(bytes)
        let whole = rest.byteCount / 64
        compress(rest, count: whole)
        state.keep(rest.extracting(64 * whole..<rest.byteCount))
    }

    /// Adds the same bytes to two digests, which together take hardly longer than one.
    public static func update(_ first: inout SHA256Hasher, _ second: inout SHA256Hasher, _ bytes: RawSpan) {
        guard first.isAccelerated, second.isAccelerated else {
            // In parts that stay in the cache between the two.
            var rest = bytes
            while rest.byteCount > 0 {
                let part = rest.extracting(0..<min(64 << 10, rest.byteCount))
                first.update(part)
                second.update(part)
                rest = rest.extracting(part.byteCount..<rest.byteCount)
            }
            return
        }
        let restA = first.fillPending(bytes)
        let restB = second.fillPending(bytes)
        let shared = min(restA.byteCount, restB.byteCount) / 64
        compress(&first, restA, &second, restB, count: shared)
        first.finishPiece(restA.extracting(64 * shared..<restA.byteCount))
        second.finishPiece(restB.extracting(64 * shared..<restB.byteCount))
    }

    /// Ends the digest and starts a new one.
    public mutating func finish() -> SHA256Digest {
        let bitCount = state.byteCount &* 8
        var padding: [72 of UInt8] = .init(repeating: 0)
        padding[0] = 0x80
        // Up to the last eight bytes of a block.
        let zeros = (119 - state.pendingCount) % 64
        for index in 0..<8 {
            padding[1 + zeros + index] = UInt8(truncatingIfNeeded: bitCount >> UInt64(56 - 8 * index))
        }
        update(padding.span.bytesView.extracting(0..<9 + zeros))
        defer { state = SHA256State() }
        return SHA256Digest(state: state.words)
    }
}

extension SHA256Hasher {
    /// Completes the pending block from `bytes` and returns the bytes that are left.
    @_lifetime(copy bytes)
    private mutating func fillPending(_ bytes: RawSpan) -> RawSpan {
        state.byteCount &+= UInt64(bytes.byteCount)
        guard state.pendingCount > 0 else { return bytes }
        let count = min(64 - state.pendingCount, bytes.byteCount)
        state.keep(bytes.extracting(0..<count))
        if state.pendingCount == 64 {
            let block = state.pending
            compress(block.span.bytesView, count: 1)
            state.pendingCount = 0
        }
        return bytes.extracting(count..<bytes.byteCount)
    }

    /// Adds what is left of a piece: perhaps a whole block, then the start of the next.
    private mutating func finishPiece(_ rest: RawSpan) {
        let whole = rest.byteCount / 64
        compress(rest, count: whole)
        state.keep(rest.extracting(64 * whole..<rest.byteCount))
    }

    /// Adds whole blocks.
    private mutating func compress(_ bytes: RawSpan, count: Int) {
        guard count > 0 else { return }
        precondition(bytes.byteCount >= 64 * count)
        let isAccelerated = isAccelerated
        var span = state.words.mutableSpan
        unsafe span.withUnsafeMutableBufferPointer { words in
            unsafe bytes.withUnsafeBytes { buffer in
                // Sound: eight words, and `count` blocks were checked to be there.
                if isAccelerated {
                    unsafe cdigest_sha256_x1(
                        words.baseAddress, buffer.bindMemory(to: UInt8.self).baseAddress, count)
                } else {
                    unsafe copenssl_sha256_blocks(words.baseAddress, buffer.baseAddress, count)
                }
            }
        }
    }

    /// Adds equally many whole blocks to two states at once.
    private static func compress(
        _ a: inout SHA256Hasher, _ bytesA: RawSpan, _ b: inout SHA256Hasher, _ bytesB: RawSpan, count: Int
    ) {
        guard count > 0 else { return }
        precondition(bytesA.byteCount >= 64 * count && bytesB.byteCount >= 64 * count)
        var spanA = a.state.words.mutableSpan
        var spanB = b.state.words.mutableSpan
        unsafe spanA.withUnsafeMutableBufferPointer { wordsA in
            unsafe spanB.withUnsafeMutableBufferPointer { wordsB in
                unsafe bytesA.withUnsafeBytes { bufferA in
                    unsafe bytesB.withUnsafeBytes { bufferB in
                        unsafe cdigest_sha256_x2(
                            wordsA.baseAddress, bufferA.bindMemory(to: UInt8.self).baseAddress,
                            wordsB.baseAddress, bufferB.bindMemory(to: UInt8.self).baseAddress, count)
                    }
                }
            }
        }
    }
}
