internal import StrictJSON
internal import TensorCore

/// What follows the reading: names must differ, then tensors must tile the data section.
extension HeaderParser {
    /// Enters the names into the table; refuses names that occur twice, or lets the last entry count.
    mutating func settleNames() throws(SafeTensorsError) {
        index.table = NameTable(count: index.names.count)
        let duplicates = index.table.enterAll(index.names, in: bytes, onlyFirst: mode == .strict)
        guard duplicates.count > 0 else { return }
        try report(duplicates, among: index.names, .duplicateTensor, "the tensor is named twice")
        index.removeTensors(where: duplicates.isSuperseded)
        // The old table goes before the new one comes.
        index.table = NameTable(count: 0)
        index.table = NameTable(count: index.names.count)
        _ = index.table.enterAll(index.names, in: bytes, onlyFirst: false)
    }

    /// The same for the keys of the metadata.
    mutating func settleMetadata() throws(SafeTensorsError) {
        guard index.metadataKeys.count > 1 else { return }
        var table = NameTable(count: index.metadataKeys.count)
        let duplicates = table.enterAll(index.metadataKeys, in: bytes, onlyFirst: mode == .strict)
        guard duplicates.count > 0 else { return }
        try report(
            duplicates, among: index.metadataKeys, .duplicateMetadataKey, "a key occurs twice in __metadata__"
        )
        index.removeMetadata(where: duplicates.isSuperseded)
    }

    private mutating func report(
        _ duplicates: NameTable.Duplicates, among quotes: [UInt32], _ code: SafeTensorsWarning.Code,
        _ message: String
    ) throws(SafeTensorsError) {
        for number in duplicates.first {
            let text = JSONText.opened(at: Int(quotes[number]), in: bytes)
            let offset = Self.fileOffset(text.start - 1)
            let name = code == .duplicateTensor ? TensorName(shown: text, in: bytes) : nil
            guard mode == .reference else {
                throw SafeTensorsError(
                    .duplicateKey, at: offset, tensor: name, message, referenceName: .some(nil))
            }
            index.warnings.add(code, at: offset, tensor: name, "\(message); the last one counts")
        }
        index.warnings.add(code, uncounted: duplicates.count - duplicates.first.count)
    }

    /// Warns of a name that programs may trip over.
    mutating func noteOddities(of text: JSONText) {
        if text.start == text.end {
            index.warnings.add(.emptyName, at: Self.fileOffset(text.start), "a tensor's name is empty")
        }
        // Only an escape can spell most control characters; DEL can stand as it is.
        guard
            containsDelete(text)
                || (text.hasEscapes && spellsControlCharacter(text))
        else { return }
        index.warnings.add(
            .controlCharInName, at: Self.fileOffset(text.start), tensor: text, in: bytes,
            "the name holds control characters")
    }

    private mutating func spellsControlCharacter(_ text: JSONText) -> Bool {
        scratch.removeAll(keepingCapacity: true)
        text.append(to: &scratch, from: bytes)
        return scratch.contains { $0 < 0x20 || $0 == 0x7F }
    }

    private func containsDelete(_ text: JSONText) -> Bool {
        var position = text.start
        while position + 8 <= text.end {
            let flipped = bytes.load(littleEndian: UInt64.self, at: position) ^ 0x7F7F_7F7F_7F7F_7F7F
            if (flipped &- 0x0101_0101_0101_0101) & ~flipped & 0x8080_8080_8080_8080 != 0 { return true }
            position += 8
        }
        while position < text.end {
            if bytes[position] == 0x7F { return true }
            position += 1
        }
        return false
    }
}
