internal import Checkpoints
internal import TensorCore

/// The checks that a source's own format offers for its bytes.
enum SourceCheck {
    /// The ranges of `file` whose CRC-32 is not what the file states, each with the tensors that it damages.
    ///
    /// - Parameter found: the CRC-32 of each range; nil where it was not taken.
    static func mismatches(
        _ file: SourceFile, _ found: [UInt32?], tensors: TensorTable
    ) -> [CheckpointError] {
        var errors: [CheckpointError] = []
        for (checksum, found) in zip(file.checksums, found) {
            guard let found, found != checksum.crc32 else { continue }
            let damaged = tensors.filter { $0.source.touches(checksum.range, of: file.source.name) }
            let names = damaged.prefix(3).map(\.name.description).joined(separator: ", ")
            let more = damaged.count > 3 ? " and \(damaged.count - 3) more" : ""
            errors.append(
                CheckpointError(
                    .malformed, "crc-mismatch",
                    "its bytes do not have the CRC-32 that the archive states, so they were altered after they "
                        + "were written" + (damaged.isEmpty ? "" : "; it holds \(names)\(more)"),
                    file: file.source.name, member: checksum.label, tensor: damaged.first?.name,
                    offset: checksum.range.lowerBound))
        }
        return errors
    }
}

extension TensorSource {
    /// Whether the result depends on bytes in `range` of the source with this name.
    func touches(_ range: Range<UInt64>, of name: String) -> Bool {
        var result = false
        forEachExtent { result = result || $0.touches(range, of: name) }
        return result
    }
}

extension Extent {
    func touches(_ range: Range<UInt64>, of name: String) -> Bool {
        source.name == name && offset < range.upperBound && range.lowerBound < offset + byteCount
    }
}
