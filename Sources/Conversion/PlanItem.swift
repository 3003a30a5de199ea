internal import Checkpoints
internal import Integrity
public import TensorCore

/// A part of a plan that can be done by itself: a range of one file.
///
/// Items are independent of each other: any worker that can read the source may do any of them, in any order, more
/// than once, and the bytes are always the same.
public struct PlanItem: Sendable, Hashable {
    /// The file, by its number among the plan's files.
    public var file: Int
    /// The file's name.
    public var path: String
    /// The bytes of the file.
    public var range: Range<UInt64>
}

extension ExportPlan {
    /// The most bytes in an item: 256 MiB.
    public static let itemByteCount = 256 << 20

    /// The plan in independent parts.
    ///
    /// Small tensors share one, large ones have several, none is split within an element. A file that states
    /// checksums of its own bytes is one.
    /// Together they are every byte of every file but the manifest, once.
    public func items(byteCount: Int = ExportPlan.itemByteCount) -> [PlanItem] {
        outputs.enumerated().flatMap { number, output in
            guard output.checksums.isEmpty else {
                return [PlanItem(file: number, path: output.path, range: 0..<output.source.byteCount)]
            }
            return PieceCursor(output.lane(from: 0), pieceByteCount: byteCount).map {
                PlanItem(file: number, path: output.path, range: $0)
            }
        }
    }

    /// Does an item: writes its bytes to `file`, at their place.
    ///
    /// Takes 4 MiB of memory and what the tensors' operations need.
    public func write(_ item: PlanItem, to file: OutputFile) throws(IOError) {
        let outputs = outputs
        guard outputs.indices.contains(item.file),
            item.range.upperBound <= outputs[item.file].source.byteCount,
            outputs[item.file].checksums.isEmpty
                || item.range == 0..<outputs[item.file].source.byteCount
        else {
            throw IOError(
                .unreadable, path: item.path, operation: "plan", detail: "the item belongs to another plan")
        }
        let output = outputs[item.file]
        let buffer = PageBuffer(capacity: 4 << 20)
        let lane = output.lane(from: item.range.lowerBound)
        let fields = ChecksumFiller(lane)
        for piece in PieceCursor(lane, pieceByteCount: buffer.capacity) {
            guard piece.lowerBound < item.range.upperBound else { return }
            let piece = piece.clamped(to: item.range)
            try buffer.withMutableBytes(count: piece.count) { (bytes) throws(IOError) in
                try output.source.read(at: piece.lowerBound, into: &bytes)
                fields?.update(&bytes, at: piece.lowerBound)
                try file.write(bytes.bytes, at: piece.lowerBound)
            }
        }
    }
}

extension ExportPlan.Output {
    /// The file from `position` on, to be cut into pieces.
    fileprivate func lane(from position: UInt64) -> DigestLane {
        DigestLane(
            source: source,
            segments: tensors.map {
                .init($0.offset..<$0.offset + $0.tensor.byteCount, checksums.isEmpty ? [] : .crc32)
            }, checksumFields: checksums,
            resumption: LaneProgress(position: position))
    }
}
