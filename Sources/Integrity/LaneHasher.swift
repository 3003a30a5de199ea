internal import TensorCore

/// The running digests of one lane.
///
/// Used by one thread at a time.
final class LaneHasher: @unchecked Sendable {
    private var whole: SHA256Hasher?
    private var part: SHA256Hasher
    private var crc: UInt32
    private let segments: [DigestLane.Segment]
    private(set) var finished: [DigestLane.SegmentDigest]
    /// The places for checksums that do not lie wholly before the bytes taken so far, next first.
    private var fields: ArraySlice<DigestLane.ChecksumField>

    init(_ lane: DigestLane) {
        let start = lane.resumption ?? LaneProgress()
        segments = lane.segments
        whole = lane.digestsWhole ? SHA256Hasher(start.whole) : nil
        part = SHA256Hasher(start.part)
        crc = start.crc32
        finished = start.finished
        fields = lane.checksumFields.drop { $0.offset + 4 <= start.position }
    }

    /// Whether bytes are filled in, so that what is taken must be writable.
    var fillsFields: Bool { !fields.isEmpty }

    /// Takes the next bytes of the lane, which start at `offset`, and fills in the checksums that stand in them.
    func update(filling bytes: inout MutableRawSpan, at offset: UInt64) {
        let end = offset + UInt64(bytes.byteCount)
        var position = offset
        while let field = fields.first, field.offset < end {
            let low = max(field.offset, position)
            let high = min(field.offset + 4, end)
            update(bytes.bytes.extracting(Int(position - offset)..<Int(low - offset)), at: position)
            let crc = CRC32.joined(
                field.prefix, finished[field.segment].crc32 ?? 0,
                byteCount: UInt64(segments[field.segment].range.count))
            for place in low..<high {
                let byte = UInt8(truncatingIfNeeded: crc >> UInt32(8 * (place - field.offset)))
                bytes.storeBytes(of: byte, toByteOffset: Int(place - offset), as: UInt8.self)
            }
            update(bytes.bytes.extracting(Int(low - offset)..<Int(high - offset)), at: low)
            position = high
            // The rest of it is in the next piece.
            if high < field.offset + 4 { return }
            fields.removeFirst()
        }
        update(bytes.bytes.extracting(Int(position - offset)..<bytes.byteCount), at: position)
    }

    /// What a later run needs to go on from `position`, the end of the bytes taken so far.
    func progress(at position: UInt64) -> LaneProgress {
        var progress = LaneProgress(position: position)
        progress.whole = whole?.currentState ?? SHA256State()
        progress.part = part.currentState
        progress.crc32 = crc
        progress.finished = finished
        return progress
    }

    /// Takes the next bytes of the lane, which start at `offset`.
    func update(_ bytes: RawSpan, at offset: UInt64) {
        let end = offset + UInt64(bytes.byteCount)
        var position = offset
        while finished.count < segments.count {
            let segment = segments[finished.count]
            let low = max(segment.range.lowerBound, position)
            let high = min(segment.range.upperBound, end)
            if low < high {
                whole?.update(bytes.extracting(Int(position - offset)..<Int(low - offset)))
                add(bytes.extracting(Int(low - offset)..<Int(high - offset)), segment.algorithms)
                position = high
            }
            if segment.range.upperBound > end { break }
            close(segment.algorithms)
        }
        whole?.update(bytes.extracting(Int(position - offset)..<bytes.byteCount))
    }

    /// Ends the lane.
    func finish() -> SHA256Digest? {
        // Empty segments of an empty lane.
        while finished.count < segments.count { close(segments[finished.count].algorithms) }
        return whole?.finish()
    }

    /// Adds bytes of the current segment to its digests and to the whole's.
    private func add(_ bytes: RawSpan, _ algorithms: DigestLane.Algorithms) {
        if algorithms.contains(.crc32) { crc = CRC32.update(crc, with: bytes) }
        guard algorithms.contains(.sha256) else {
            whole?.update(bytes)
            return
        }
        if var all = whole {
            SHA256Hasher.update(&all, &part, bytes)
            whole = all
        } else {
            part.update(bytes)
        }
    }

    private func close(_ algorithms: DigestLane.Algorithms) {
        finished.append(
            .init(
                sha256: algorithms.contains(.sha256) ? part.finish() : nil,
                crc32: algorithms.contains(.crc32) ? crc : nil))
        crc = 0
    }
}

/// Fills in the checksums of a lane that is read piece by piece from its start.
package struct ChecksumFiller {
    private let hasher: LaneHasher

    /// Nil where the lane has none.
    package init?(_ lane: DigestLane) {
        if lane.checksumFields.isEmpty { return nil }
        var lane = lane
        lane.digestsWhole = false
        hasher = LaneHasher(lane)
    }

    /// Takes the next piece.
    package func update(_ bytes: inout MutableRawSpan, at offset: UInt64) {
        hasher.update(filling: &bytes, at: offset)
    }
}
