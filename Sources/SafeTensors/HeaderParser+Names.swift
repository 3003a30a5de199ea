internal import StrictJSON
internal import TensorCore

/// What follows the reading: names must differ, then tensors must tile the data section.
extension HeaderParser {
    /// Enters the names into the table; refuses names that occur twice, or lets the last entry count.
    mutating func settleNames() throws(SafeTensorsError) {
        var table = NameTable(count: index.names.count)
        var keep: [Bool] = []
        for number in index.names.indices {
            let text = JSONText.opened(at: Int(index.names[number]), in: bytes)
            noteOddities(of: text)
            guard let previous = table.enter(number, of: index.names, in: bytes) else { continue }
            try refuseDuplicate(text, .duplicateTensor, "the tensor is named twice")
            if keep.isEmpty { keep = Array(repeating: true, count: index.names.count) }
            keep[previous] = false
        }
        if !keep.isEmpty {
            index.filterTensors(keep)
            table = NameTable(count: index.names.count)
            for number in index.names.indices { _ = table.enter(number, of: index.names, in: bytes) }
        }
        index.table = table
    }

    /// The same for the keys of the metadata.
    mutating func settleMetadata() throws(SafeTensorsError) {
        guard index.metadataKeys.count > 1 else { return }
        var table = NameTable(count: index.metadataKeys.count)
        var keep: [Bool] = []
        for number in index.metadataKeys.indices {
            guard let previous = table.enter(number, of: index.metadataKeys, in: bytes) else { continue }
            let text = JSONText.opened(at: Int(index.metadataKeys[number]), in: bytes)
            try refuseDuplicate(text, .duplicateMetadataKey, "a key occurs twice in __metadata__")
            if keep.isEmpty { keep = Array(repeating: true, count: index.metadataKeys.count) }
            keep[previous] = false
        }
        if !keep.isEmpty { index.metadataKeys = zip(index.metadataKeys, keep).compactMap { $1 ? $0 : nil } }
    }

    private mutating func refuseDuplicate(
        _ text: JSONText, _ code: SafeTensorsWarning.Code, _ message: String
    ) throws(SafeTensorsError) {
        let offset = Self.fileOffset(text.start - 1)
        let isTensor = code == .duplicateTensor
        let name = isTensor ? TensorName(utf8: text.utf8(in: bytes)) : nil
        guard mode == .reference else {
            throw SafeTensorsError(
                .duplicateKey, at: offset, tensor: name, message, referenceName: .some(nil))
        }
        index.warnings.add(code) {
            SafeTensorsWarning(code, at: offset, tensor: name, "\(message); the last one counts")
        }
    }

    private mutating func noteOddities(of text: JSONText) {
        if text.start == text.end {
            index.warnings.add(.emptyName) {
                SafeTensorsWarning(.emptyName, at: Self.fileOffset(text.start), "a tensor's name is empty")
            }
        }
        // Only an escape can spell most control characters; DEL can stand as it is.
        guard text.hasEscapes || containsDelete(text) else { return }
        let name = TensorName(utf8: text.utf8(in: bytes))
        guard name.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F }) else { return }
        index.warnings.add(.controlCharInName) {
            SafeTensorsWarning(
                .controlCharInName, at: Self.fileOffset(text.start), tensor: name,
                "the name holds control characters")
        }
    }

    private func containsDelete(_ text: JSONText) -> Bool {
        for position in text.start..<text.end where bytes[position] == 0x7F { return true }
        return false
    }
}
