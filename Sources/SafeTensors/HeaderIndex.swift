internal import TensorCore

/// What a parsed header leaves behind besides its bytes: places in them, 28 bytes a tensor.
///
/// Names and shapes stay where they are and are read again when asked for, so that the memory for a hostile
/// header is bounded by the header's own size.
struct HeaderIndex: Sendable {
    /// One tensor's entry.
    struct Entry: Sendable {
        /// The first and the past-the-end byte, from the start of the data section.
        var begin: UInt64
        var end: UInt64
        /// The opening bracket of the shape.
        var shape: UInt32
        var dtype: DType
        var fault: Fault
    }

    /// What is wrong with the size of a tensor, found while reading but judged after names are settled.
    enum Fault: UInt8, Sendable { case none, reversed, overflow, subByte, mismatch }

    /// The opening quote of each tensor's name, in header order.
    var names: [UInt32] = []
    /// The entries, in the same order.
    var entries: [Entry] = []
    /// The indices of the entries by offset, or nil where that is the header's order.
    var offsetOrder: [UInt32]?
    /// The opening quote of each metadata key.
    var metadataKeys: [UInt32] = []
    /// True where `__metadata__` is an object.
    var hasMetadata = false
    /// Finds entries by name.
    var table = NameTable(count: 0)
    var warnings = SafeTensorsWarnings()

    /// Removes the tensors for which the flag is set.
    mutating func removeTensors(where flags: [Bool]) {
        names.remove(where: flags)
        entries.remove(where: flags)
    }

    /// Removes the metadata for which the flag is set.
    mutating func removeMetadata(where flags: [Bool]) { metadataKeys.remove(where: flags) }
}

extension Array {
    /// Removes the elements for which the flag is set, in place.
    fileprivate mutating func remove(where flags: [Bool]) {
        var kept = 0
        for position in indices where !flags[position] {
            self[kept] = self[position]
            kept += 1
        }
        removeLast(count - kept)
    }
}
