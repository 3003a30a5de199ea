internal import COpenSSL
internal import CDigest
internal import TensorCore

/// SHA-256 over bytes that come in pieces.
///
/// Uses the processor's SHA instructions where it has them, else OpenSSL. Used by one thread at a time; whoever
/// hands it to another thread does so under a lock.
public final class SHA256Hasher: @unchecked Sendable {
    private var backend: Backend

    private enum Backend {
        case instructions(SHA256Blocks)
        case openSSL(OpenSSLDigest)
    }

    /// Whether this processor has SHA instructions that this program uses.
    public static let isAccelerated = cdigest_sha256_supported()

    /// Starts a digest.
    public convenience init() { self.init(accelerated: Self.isAccelerated) }

    init(accelerated: Bool) {
        backend = accelerated ? .instructions(SHA256Blocks()) : .openSSL(OpenSSLDigest())
    }

    /// Adds bytes.
    public func update(_ bytes: RawSpan) {
        switch backend {
        case .openSSL(let digest): digest.update(bytes)
        case .instructions(var blocks):
            let rest = blocks.fillPending(bytes)
            let whole = rest.byteCount / 64
            blocks.compress(rest, count: whole)
            blocks.keep(rest.extracting(64 * whole..<rest.byteCount))
            backend = .instructions(blocks)
        }
    }

    /// Adds the same bytes to two digests, which together take hardly longer than one.
    public static func update(_ first: SHA256Hasher, _ second: SHA256Hasher, _ bytes: RawSpan) {
        guard case .instructions(var a) = first.backend, case .instructions(var b) = second.backend else {
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
        let restA = a.fillPending(bytes)
        let restB = b.fillPending(bytes)
        let shared = min(restA.byteCount, restB.byteCount) / 64
        SHA256Blocks.compress(&a, restA, &b, restB, count: shared)
        a.finishPiece(restA.extracting(64 * shared..<restA.byteCount))
        b.finishPiece(restB.extracting(64 * shared..<restB.byteCount))
        first.backend = .instructions(a)
        second.backend = .instructions(b)
    }

    /// Ends the digest and starts a new one.
    public func finish() -> SHA256Digest {
        switch backend {
        case .openSSL(let digest): return digest.finish()
        case .instructions(var blocks):
            backend = .instructions(SHA256Blocks())
            return blocks.finish()
        }
    }
}

/// The state of a digest whose blocks the processor's SHA instructions add.
private struct SHA256Blocks {
    private var state: [8 of UInt32] = [
        0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab,
        0x5be0_cd19,
    ]
    /// The start of a block that is not whole yet.
    private var pending: [64 of UInt8] = .init(repeating: 0)
    private var pendingCount = 0
    private var byteCount: UInt64 = 0

    /// Completes the pending block from `bytes` and returns the bytes that are left.
    @_lifetime(copy bytes)
    mutating func fillPending(_ bytes: RawSpan) -> RawSpan {
        byteCount += UInt64(bytes.byteCount)
        guard pendingCount > 0 else { return bytes }
        let count = min(64 - pendingCount, bytes.byteCount)
        for index in 0..<count { pending[pendingCount + index] = bytes[index] }
        pendingCount += count
        if pendingCount == 64 { compressPending() }
        return bytes.extracting(count..<bytes.byteCount)
    }

    /// Adds whole blocks.
    mutating func compress(_ bytes: RawSpan, count: Int) {
        guard count > 0 else { return }
        precondition(bytes.byteCount >= 64 * count)
        var span = state.mutableSpan
        unsafe span.withUnsafeMutableBufferPointer { state in
            unsafe bytes.withUnsafeBytes { buffer in
                unsafe cdigest_sha256_x1(
                    state.baseAddress, buffer.bindMemory(to: UInt8.self).baseAddress, count)
            }
        }
    }

    /// Adds equally many whole blocks to two states at once.
    static func compress(
        _ a: inout SHA256Blocks, _ bytesA: RawSpan, _ b: inout SHA256Blocks, _ bytesB: RawSpan, count: Int
    ) {
        guard count > 0 else { return }
        precondition(bytesA.byteCount >= 64 * count && bytesB.byteCount >= 64 * count)
        var spanA = a.state.mutableSpan
        var spanB = b.state.mutableSpan
        unsafe spanA.withUnsafeMutableBufferPointer { stateA in
            unsafe spanB.withUnsafeMutableBufferPointer { stateB in
                unsafe bytesA.withUnsafeBytes { bufferA in
                    unsafe bytesB.withUnsafeBytes { bufferB in
                        unsafe cdigest_sha256_x2(
                            stateA.baseAddress, bufferA.bindMemory(to: UInt8.self).baseAddress,
                            stateB.baseAddress, bufferB.bindMemory(to: UInt8.self).baseAddress, count)
                    }
                }
            }
        }
    }

    /// Adds what is left of a piece: perhaps a whole block, then the start of the next.
    mutating func finishPiece(_ rest: RawSpan) {
        let whole = rest.byteCount / 64
        compress(rest, count: whole)
        keep(rest.extracting(64 * whole..<rest.byteCount))
    }

    /// Keeps less than a block for later.
    ///
    /// Nothing may be pending unless `bytes` is empty.
    mutating func keep(_ bytes: RawSpan) {
        guard bytes.byteCount > 0 else { return }
        for index in 0..<bytes.byteCount { pending[index] = bytes[index] }
        pendingCount = bytes.byteCount
    }

    /// Adds the padding of FIPS 180-4 and returns the digest.
    mutating func finish() -> SHA256Digest {
        let bitCount = byteCount &* 8
        pending[pendingCount] = 0x80
        pendingCount += 1
        if pendingCount > 56 {
            while pendingCount < 64 { appendZero() }
            compressPending()
        }
        while pendingCount < 56 { appendZero() }
        for index in 0..<8 {
            pending[56 + index] = UInt8(truncatingIfNeeded: bitCount >> UInt64(56 - 8 * index))
        }
        compressPending()
        return SHA256Digest(state: state)
    }

    private mutating func appendZero() {
        pending[pendingCount] = 0
        pendingCount += 1
    }

    private mutating func compressPending() {
        let block = pending
        compress(block.span.bytesView, count: 1)
        pendingCount = 0
    }
}

/// OpenSSL's SHA-256.
@safe
private final class OpenSSLDigest {
    private let context: OpaquePointer

    init() {
        // EVP_MD_CTX_new fails only when memory is out, and SHA-256 is always there.
        guard let context = unsafe EVP_MD_CTX_new(), unsafe EVP_DigestInit_ex(context, EVP_sha256(), nil) == 1
        else { fatalError("OpenSSL has no SHA-256 or no memory") }
        unsafe self.context = context
    }

    deinit { unsafe EVP_MD_CTX_free(context) }

    func update(_ bytes: RawSpan) {
        _ = unsafe bytes.withUnsafeBytes { buffer in
            unsafe EVP_DigestUpdate(context, buffer.baseAddress, buffer.count)
        }
    }

    func finish() -> SHA256Digest {
        var bytes: [32 of UInt8] = .init(repeating: 0)
        var span = bytes.mutableSpan
        unsafe span.withUnsafeMutableBytes { buffer in
            let target = unsafe buffer.bindMemory(to: UInt8.self)
            _ = unsafe EVP_DigestFinal_ex(context, target.baseAddress, nil)
        }
        _ = unsafe EVP_DigestInit_ex(context, EVP_sha256(), nil)
        return SHA256Digest(bytes: bytes)
    }
}
