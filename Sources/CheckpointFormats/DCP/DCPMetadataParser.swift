internal import Checkpoints
internal import TensorCore

/// Makes ``DCPMetadata`` of a pickled `Metadata` object.
struct DCPMetadataParser {
    private let heap: PickleHeap
    private let file: String
    private var slices: [Key: DCPMetadata.Slice] = [:]

    /// What a slice is looked up by: an item's name, and where in a tensor it goes.
    private struct Key: Hashable {
        var name: Int32
        var start: [UInt64]?
    }

    /// The items that a metadata file describes, in its order.
    static func items(of bytes: [UInt8], file: String) throws(CheckpointError) -> [DCPMetadata.Item] {
        var machine = PickleMachine(bytes, file: file, globals: .distributed)
        let top = try machine.run()
        var parser = DCPMetadataParser(heap: machine.heap, file: file)
        return try parser.items(top)
    }

    private init(heap: PickleHeap, file: String) {
        self.heap = heap
        self.file = file
    }

    private mutating func items(_ top: PickleValue) throws(CheckpointError) -> [DCPMetadata.Item] {
        guard heap.className(of: top) == "Metadata", let states = heap.member("state_dict_metadata", of: top),
            let pairs = heap.pairs(states)
        else { throw damaged("it is no Metadata object") }
        if let version = heap.member("version", of: top).flatMap(heap.text), !version.starts(with: "1.".utf8)
        {
            throw CheckpointError(
                .unsupported, "metadata-version",
                "the metadata has version '\(escaped(version))', and 1 is known", file: file)
        }
        try readSlices(heap.member("storage_data", of: top))
        let paths = heap.member("planner_data", of: top)
        var items: [DCPMetadata.Item] = []
        items.reserveCapacity(pairs.count)
        for (key, value) in pairs {
            guard case .string(let name) = key, let bytes = heap.text(key) else {
                throw damaged("a name is not text")
            }
            items.append(
                DCPMetadata.Item(
                    name: bytes, path: path(of: key, in: paths) ?? [bytes],
                    content: try content(value, name: name, bytes)))
        }
        return items
    }

    /// The keys that lead to an item, where the metadata tells.
    private func path(of key: PickleValue, in table: PickleValue?) -> [[UInt8]]? {
        guard case .dictionary(let number) = table, let path = heap.dictionaries[Int(number)][key],
            let parts = heap.items(path), !parts.isEmpty, parts.count <= 1000
        else { return nil }
        var result: [[UInt8]] = []
        for part in parts {
            switch part {
            case .string: result.append(heap.text(part) ?? [])
            case .integer(let number): result.append(Array(String(number).utf8))
            default: return nil
            }
        }
        return result
    }

    private func content(
        _ value: PickleValue, name: Int32, _ bytes: [UInt8]
    ) throws(CheckpointError) -> DCPMetadata.Content {
        switch heap.className(of: value) {
        case "BytesStorageMetadata":
            guard let slice = slices[Key(name: name, start: nil)] else { throw missing(bytes) }
            return .value(slice)
        case "TensorStorageMetadata":
            guard let element = element(of: value),
                let shape = heap.member("size", of: value).flatMap(heap.dimensions),
                let chunks = heap.member("chunks", of: value).flatMap(heap.items)
            else { throw damaged("the description of a tensor is damaged", bytes) }
            var known: [[UInt64]: [UInt64]] = [:]
            var parts: [DCPMetadata.Chunk] = []
            parts.reserveCapacity(chunks.count)
            for chunk in chunks {
                let part = try self.chunk(chunk, name: name, bytes)
                // What all ranks have may be listed by each; it is stored once, or overwritten with the same.
                if known[part.start] == part.shape { continue }
                known[part.start] = part.shape
                parts.append(part)
            }
            return .tensor(element: element, shape: shape, chunks: parts)
        default: throw damaged("an item is neither a tensor nor bytes", bytes)
        }
    }

    /// The dtype of a tensor: the first of its properties, which old versions keep by name.
    private func element(of value: PickleValue) -> TorchElement? {
        guard let properties = heap.member("properties", of: value), case .call(let number) = properties
        else { return nil }
        let state = heap.calls[Int(number)].state
        guard let dtype = heap.items(state)?.first ?? heap.member("dtype", of: properties),
            case .element(let element) = heap.global(dtype)?.role
        else { return nil }
        return element
    }

    private func chunk(
        _ value: PickleValue, name: Int32, _ bytes: [UInt8]
    ) throws(CheckpointError) -> DCPMetadata.Chunk {
        // Version 2.0 kept shards under names of their own.
        let starts = heap.member("offsets", of: value) ?? heap.member("shard_offsets", of: value)
        let shapes = heap.member("sizes", of: value) ?? heap.member("shard_sizes", of: value)
        guard let start = starts.flatMap(heap.dimensions), let shape = shapes.flatMap(heap.dimensions),
            start.count == shape.count
        else { throw damaged("the description of a part of a tensor is damaged", bytes) }
        guard let slice = slices[Key(name: name, start: start)] else { throw missing(bytes) }
        return DCPMetadata.Chunk(start: start, shape: shape, slice: slice)
    }
}

/// Where the items are stored.
extension DCPMetadataParser {
    private mutating func readSlices(_ table: PickleValue?) throws(CheckpointError) {
        guard let pairs = table.flatMap(heap.pairs) else { throw damaged("it does not say where items are") }
        slices.reserveCapacity(pairs.count)
        for (index, info) in pairs {
            guard let key = heap.member("fqn", of: index), case .string(let name) = key,
                let file = heap.member("relative_path", of: info).flatMap(heap.text),
                let offset = heap.member("offset", of: info).flatMap(heap.count),
                let length = heap.member("length", of: info).flatMap(heap.count)
            else { throw damaged("the place of an item is damaged") }
            var start: [UInt64]?
            if let value = heap.member("offset", of: index), value != .none {
                guard let offsets = heap.dimensions(value) else { throw damaged("a place is damaged") }
                start = offsets
            }
            let slice = DCPMetadata.Slice(
                file: String(decoding: file, as: UTF8.self), offset: offset, byteCount: length,
                transforms: try transforms(of: info))
            guard slices.updateValue(slice, forKey: Key(name: name, start: start)) == nil else {
                throw CheckpointError(
                    .malformed, "duplicate-chunk", "the same part of it is stored twice", file: self.file,
                    tensor: TensorName(utf8: heap.text(key) ?? []))
            }
        }
    }

    private func transforms(of info: PickleValue) throws(CheckpointError) -> [String] {
        guard let value = heap.member("transform_descriptors", of: info), value != .none else { return [] }
        guard let items = heap.items(value) else { throw damaged("a list of transforms is damaged") }
        return try items.map { (item) throws(CheckpointError) in
            guard let text = heap.text(item) else { throw damaged("a list of transforms is damaged") }
            return String(decoding: text, as: UTF8.self)
        }
    }

    private func damaged(_ what: String, _ name: [UInt8]? = nil) -> CheckpointError {
        CheckpointError(
            .malformed, "bad-metadata", "the metadata is damaged: \(what)", file: file,
            tensor: name.map { TensorName(utf8: $0) })
    }

    private func missing(_ name: [UInt8]) -> CheckpointError {
        CheckpointError(
            .malformed, "chunk-missing", "the metadata does not say where a part of it is stored", file: file,
            tensor: TensorName(utf8: name))
    }
}
