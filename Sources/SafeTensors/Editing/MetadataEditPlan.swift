internal import TensorCore

/// A change of a file's metadata, with every byte of the new header.
struct MetadataEditPlan {
    let outcome: SafeTensorsMetadataEditor.Outcome
    /// The file up to its data section, before and after.
    let before: [UInt8]
    let after: [UInt8]
    /// The size of the file before, in bytes.
    let fileByteCount: UInt64

    var growth: UInt64 { UInt64(after.count - before.count) }
}

extension ByteSource {
    /// Plans a change of the metadata of this file.
    ///
    /// - Parameter blockByteCount: the unit in which the file system moves bytes.
    func plan(_ edit: MetadataEdit, blockByteCount: UInt64) throws(SafeTensorsError) -> MetadataEditPlan {
        let size = byteCount
        let header = try SafeTensorsHeader(reading: self)
        let old = try input { () throws(IOError) in
            try bytes(at: 0, count: Int(header.dataOffset))
        }
        let metadata = Array(header.metadata)
        guard let text = try HeaderText(Array(old[8...])).applying(edit, to: metadata) else {
            let count = header.headerByteCount
            let outcome = SafeTensorsMetadataEditor.Outcome(
                method: .none, before: metadata, after: metadata, headerByteCount: (count, count),
                fileByteCount: size)
            return MetadataEditPlan(outcome: outcome, before: old, after: old, fileByteCount: size)
        }
        let new = try padded(text, old: header.headerByteCount, blockByteCount: blockByteCount)
        let newSize = size + UInt64(new.count - old.count)
        let check = try SafeTensorsHeader(parsing: Array(new[8...]), fileByteCount: newSize)
        // The text of the entries was copied; what is checked is that it is still the text of entries.
        guard check.count == header.count else {
            throw SafeTensorsError(
                .badTensorEntry, "the new header would not have the tensors of the old one")
        }
        let outcome = SafeTensorsMetadataEditor.Outcome(
            method: new.count == old.count ? .inPlace : .insert, before: metadata,
            after: Array(check.metadata),
            headerByteCount: (header.headerByteCount, check.headerByteCount), fileByteCount: newSize)
        return MetadataEditPlan(outcome: outcome, before: old, after: new, fileByteCount: size)
    }

    /// The new header with its length before it and spaces behind it.
    private func padded(
        _ text: [UInt8], old: UInt64, blockByteCount: UInt64
    ) throws(SafeTensorsError) -> [UInt8] {
        let unit = max(SafeTensorsMetadataEditor.growthUnit, blockByteCount)
        var count = old
        if UInt64(text.count) > old { count += (UInt64(text.count) - old + unit - 1) / unit * unit }
        guard count <= UInt64(SafeTensorsHeader.maximumHeaderByteCount) else {
            throw SafeTensorsError(
                .headerTooLarge,
                "the header would have \(count) bytes, over the limit of "
                    + "\(SafeTensorsHeader.maximumHeaderByteCount)")
        }
        let length = (0..<8).map { UInt8(truncatingIfNeeded: count >> (8 * UInt64($0))) }
        return length + text + repeatElement(UInt8(ascii: " "), count: Int(count) - text.count)
    }
}
