internal import TensorCore

/// One run through a compressed stream, from its start as far as is asked for.
final class DecompressionRun {
    private let source: any ByteSource
    private let range: Range<UInt64>
    private let compression: Compression
    private let name: String
    private let mayEndEarly: Bool
    private var decompressor: Decompressor?
    private var input: [UInt8] = []
    private var inputUsed = 0
    /// Where the next bytes of the stream stand.
    private var place: UInt64
    /// The bytes that were made.
    private(set) var position: UInt64 = 0
    /// The CRC-32 of the bytes that were made.
    private(set) var checksum: UInt32 = 0
    /// Whether ``checksum`` is wanted.
    private let takesChecksum: Bool
    /// The last chunks that were made and kept.
    private(set) var window: [[UInt8]] = []
    private var windowCount = 0

    private static var inputByteCount: Int { 256 << 10 }
    private static var outputByteCount: Int { 1 << 20 }
    /// Those of the first step, after which headers are known.
    private static var firstByteCount: Int { 16 << 10 }

    init(
        _ source: any ByteSource, _ range: Range<UInt64>, _ compression: Compression, name: String,
        takesChecksum: Bool = false, mayEndEarly: Bool = false
    ) {
        self.source = source
        self.range = range
        self.compression = compression
        self.name = name
        self.takesChecksum = takesChecksum
        self.mayEndEarly = mayEndEarly
        place = range.lowerBound
    }

    /// Where what is kept begins.
    var windowStart: UInt64 { position - UInt64(windowCount) }

    /// The next bytes of what the stream holds; none where it has ended.
    func advance() throws(IOError) -> [UInt8] {
        do throws(Decompressor.Failure) {
            let decompressor = try opened()
            while true {
                if inputUsed == input.count, place < range.upperBound { try fill() }
                var step = (taken: 0, made: 0)
                var failure: Decompressor.Failure?
                let (input, rest) = (input, inputUsed..<input.count)
                let room = position == 0 ? Self.firstByteCount : Self.outputByteCount
                var output = [UInt8](count: room) { buffer in
                    let part = input.span.bytesView.extracting(rest)
                    do throws(Decompressor.Failure) {
                        step = try decompressor.step(part, into: &buffer)
                    } catch {
                        failure = error
                    }
                }
                if let failure { throw failure }
                inputUsed += step.taken
                if step.made > 0 {
                    output.removeSubrange(step.made...)
                    position += UInt64(step.made)
                    if takesChecksum { checksum = crc32(output.span.bytesView, seed: checksum) }
                    return output
                }
                guard step.taken == 0 || (inputUsed == input.count && place == range.upperBound) else {
                    continue
                }
                let isUsedUp = inputUsed == input.count && place == range.upperBound
                if isUsedUp, decompressor.isAtEnd || range.isEmpty || mayEndEarly { return [] }
                throw .corrupt
            }
        } catch {
            if let inputFailure { throw inputFailure }
            throw IOError(
                .damaged, path: name, operation: "decompress",
                offset: place - UInt64(input.count - inputUsed),
                detail: error == .corrupt ? "the \(compression.rawValue) stream is damaged" : "no memory")
        }
    }

    /// The failure to read that ended the run.
    private var inputFailure: IOError?

    private func opened() throws(Decompressor.Failure) -> Decompressor {
        if let decompressor { return decompressor }
        let made = try Decompressor(compression)
        decompressor = made
        return made
    }

    private func fill() throws(Decompressor.Failure) {
        let most = place == range.lowerBound ? Self.firstByteCount : Self.inputByteCount
        let count = Int(min(UInt64(most), range.upperBound - place))
        do throws(IOError) { input = try source.bytes(at: place, count: count) } catch {
            inputFailure = error
            throw .corrupt
        }
        place += UInt64(count)
        inputUsed = 0
    }

    /// Keeps the chunk that was made last, and of those before it as many as `limit` bytes allow.
    func keep(_ chunk: [UInt8], limit: Int) {
        window.append(chunk)
        windowCount += chunk.count
        while windowCount > limit, window.count > 1 { windowCount -= window.removeFirst().count }
    }
}
