internal import Checkpoints
internal import StrictJSON
internal import TensorCore

/// Reads the values that stand beside the tensors of a distributed checkpoint: steps, names, settings.
struct DCPValues {
    let reader: DCPSliceReader
    private(set) var members: [JSONMember] = []
    private(set) var skipped: [SkippedItem] = []
    private var extraStateCount = 0

    private static let countLimit = 1000
    private static let byteLimit = 256 << 10

    init(reader: DCPSliceReader) { self.reader = reader }

    /// Reads the values of items that are no tensors, as far as they are plain and few.
    mutating func read(_ items: [DCPMetadata.Item]) throws(CheckpointError) {
        var budget = 1 << 20
        var unread = 0
        for item in items {
            guard case .value(let slice) = item.content else { continue }
            let name = String(decoding: item.name, as: UTF8.self)
            if name.contains("_extra_state") {
                extraStateCount += 1
                continue
            }
            guard members.count < Self.countLimit, budget > 0 else {
                unread += 1
                continue
            }
            do throws(CheckpointError) {
                guard let object = try reader.value(slice, limit: Self.byteLimit) else {
                    skip(name, "a value of \(slice.byteCount) bytes")
                    continue
                }
                members.append(
                    JSONMember(key: name, value: object.heap.json(object.top, budget: &budget)))
                let count = object.tensorCount
                if count > 0 { skip(name, "tensors inside a pickled value", tensorCount: count) }
            } catch {
                // What it would take to rebuild an object is none of our business; what would run commands is.
                guard error.code == "refused-global", let global = error.global,
                    !DeniedGlobals.contains(qualifiedName: global)
                else { throw error.naming(item.name) }
                skip(name, "an object of Python (\(global))")
            }
        }
        if unread > 0 { skip("(\(unread) values)", "more than are looked at") }
        if extraStateCount > 0 { skip("(\(extraStateCount) values)", "extra states of layers") }
    }

    private mutating func skip(_ name: String, _ reason: String, tensorCount: Int = 0) {
        skipped.append(
            SkippedItem(name: escapedForDisplay(name), reason: reason, tensorCount: tensorCount))
    }
}
