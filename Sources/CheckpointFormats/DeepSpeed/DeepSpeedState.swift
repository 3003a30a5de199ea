internal import Checkpoints
internal import TensorCore

/// One of DeepSpeed's files: its pickle as data, and its tensors on demand.
struct DeepSpeedState {
    let object: SavedObject
    private(set) var builder: TensorBuilder

    init(_ source: any ByteSource, name: String, allowsOpaque: Bool) throws(CheckpointError) {
        let firstBytes: [UInt8]
        do { firstBytes = try source.bytes(at: 0, count: Int(min(4, source.byteCount))) } catch {
            throw CheckpointError(error)
        }
        guard firstBytes.starts(with: [0x50, 0x4B]) else {
            throw CheckpointError(
                .malformed, "not-pytorch",
                "this is no zip archive, so DeepSpeed did not write it or it is damaged",
                file: name)
        }
        var globals = PickleGlobals.deepSpeed
        globals.allowsOpaque = allowsOpaque
        object = try ArchiveCheckpoint(source, displayName: name).object(globals: globals)
        builder = TensorBuilder(heap: object.heap, storages: object.storages, file: name)
    }

    /// The value of a key at the top.
    func member(_ name: String) -> PickleValue? {
        object.heap.member(name, of: object.top).flatMap { $0 == .none ? nil : $0 }
    }

    /// Whether a value is a tensor.
    func isTensor(_ value: PickleValue) -> Bool {
        guard case .call(let number) = value,
            case .tensor = object.heap.globals[Int(object.heap.calls[Int(number)].global)].role
        else { return false }
        return true
    }

    /// The tensor that a value is.
    mutating func tensor(_ value: PickleValue, _ name: [UInt8]) throws(CheckpointError) -> TensorExpression {
        guard isTensor(value), case .call(let number) = value else {
            throw damaged("'\(escaped(name))' is no tensor")
        }
        let record = try builder.record(object.heap.calls[Int(number)], named: TensorName(utf8: name))
        do { return try record.expression } catch { throw damaged(error.description) }
    }

    /// The tensors of a list, as flat as they must be.
    mutating func flatTensors(_ value: PickleValue) throws(CheckpointError) -> [TensorExpression] {
        guard let items = object.heap.items(value) else { throw damaged("the partitions are no list") }
        var result: [TensorExpression] = []
        for item in items {
            let tensor = try tensor(item, Array("partition \(result.count)".utf8))
            guard tensor.shape.count == 1, tensor.dtype.byteWidth != nil else {
                throw damaged("a partition is not flat")
            }
            result.append(tensor)
        }
        return result
    }

    /// The pairs of a dictionary whose keys are text.
    func named(_ value: PickleValue) throws(CheckpointError) -> [(name: [UInt8], value: PickleValue)] {
        guard let pairs = object.heap.pairs(value) else { throw damaged("a table of names is damaged") }
        var result: [(name: [UInt8], value: PickleValue)] = []
        result.reserveCapacity(pairs.count)
        for (key, value) in pairs {
            guard let name = object.heap.text(key) else { throw damaged("a name is not text") }
            result.append((name, value))
        }
        return result
    }

    /// The shapes of a dictionary of names.
    func shapes(_ value: PickleValue) throws(CheckpointError) -> [NamedShape] {
        try named(value).map { (name, value) throws(CheckpointError) in
            guard let shape = object.heap.dimensions(value), let count = DType.elementCount(of: shape),
                count <= UInt64(Int64.max) / 16
            else { throw damaged("the shape of '\(escaped(name))' is damaged") }
            return NamedShape(name: name, shape: shape, elementCount: count)
        }
    }

    func damaged(_ what: String) -> CheckpointError {
        CheckpointError(.malformed, "bad-state", "the state is damaged: \(what)", file: object.file)
    }
}

/// A parameter by name and shape.
struct NamedShape {
    var name: [UInt8]
    var shape: [UInt64]
    var elementCount: UInt64
}

/// Flat tensors one after the other, of which any range is a tensor.
struct FlatSequence {
    private var parts: [TensorExpression] = []
    /// Where each part begins, and where the last one ends.
    private var starts: [UInt64] = [0]

    /// The number of elements.
    var count: UInt64 { starts[starts.count - 1] }

    /// Adds elements at the end; false where there are too many to count.
    mutating func append(_ part: TensorExpression) -> Bool {
        let (end, overflow) = count.addingReportingOverflow(part.shape[0])
        guard !overflow, end <= UInt64(Int64.max) / 16 else { return false }
        guard part.shape[0] > 0 else { return true }
        parts.append(part)
        starts.append(end)
        return true
    }

    /// The elements in a range, as the parts that they lie in.
    func slices(_ range: Range<UInt64>) throws(ExpressionError) -> [TensorExpression] {
        guard !range.isEmpty else { return [] }
        // The last part that begins at or before the range.
        var (low, high) = (0, parts.count)
        while low + 1 < high {
            let middle = (low + high) / 2
            if starts[middle] <= range.lowerBound { low = middle } else { high = middle }
        }
        var result: [TensorExpression] = []
        var index = low
        while index < parts.count, starts[index] < range.upperBound {
            let own = range.clamped(to: starts[index]..<starts[index + 1])
            result.append(
                try parts[index].sliced(
                    axis: 0, own.lowerBound - starts[index]..<own.upperBound - starts[index]))
            index += 1
        }
        return result
    }
}

extension NamedShape {
    /// The parameter made of flat pieces that have as many elements as it.
    func tensor(of pieces: [TensorExpression], dtype: DType) throws(ExpressionError) -> TensorExpression {
        if pieces.isEmpty {
            return try .filled(
                with: [UInt8](repeating: 0, count: dtype.byteWidth ?? 1), dtype: dtype, shape: shape)
        }
        return try TensorExpression.concatenated(pieces, axis: 0).reshaped(to: shape)
    }
}
