internal import Checkpoints
internal import StrictJSON
internal import TensorCore

/// Reads one tree of arrays that Orbax saved: a directory with `_METADATA`, or with arrays alone.
struct OrbaxReader {
    private(set) var files: OrbaxFiles
    private let store: OrbaxStore
    private var tree: PyTree
    private var arrayCount = 0
    private var chunkCount = 0
    private let cache = ChunkCache()
    private var warnings: [CheckpointWarning] = []
    /// Whether chunks of nothing but the fill value were stored too, so that one that lacks was lost.
    private var storesEveryChunk = false

    private static let metadataName = "_METADATA"
    private static let stringsName = "_strings.json"
    private static let metadataLimit = 12 << 20
    private static let arrayLimit: UInt64 = 1 << 20
    /// The most keys that all arrays may claim to have chunks at.
    private static let chunkLimit = 1 << 20

    /// Whether a directory is such a tree by the names in it.
    static func isTree(_ listing: DirectoryListing) -> Bool {
        listing.has(metadataName) || listing.has(OCDBTStore.manifestName)
    }

    init(_ sources: OrbaxFiles) throws(CheckpointError) {
        var files = sources
        let name = files.name
        guard !name.utf8.contains(".orbax-checkpoint-tmp".utf8) else {
            throw CheckpointError(
                .malformed, "orbax-unfinished", "the directory is one of a save that was never committed",
                file: name)
        }
        if try files.has(OCDBTStore.manifestName) {
            store = .database(try OCDBTStore(&files))
        } else if files.directories.contains(where: { $0.hasPrefix("ocdbt.process_") }) {
            throw CheckpointError(
                .malformed, "orbax-unfinished",
                "the parts of the processes were never merged: there is no \(OCDBTStore.manifestName)",
                file: name)
        } else {
            store = .directories
        }
        tree = PyTree(file: name)
        self.files = files
    }

    /// The checkpoint with lazy tensors.
    mutating func read(options: ReadOptions) throws(CheckpointError) -> Checkpoint {
        if try files.has(Self.metadataName) { try readMetadata() } else { try readNames() }
        let selection = try PyTreeSelection(tree, options: options)
        var checkpoint = selection.checkpoint(format: "orbax", files: [], root: options.root)
        checkpoint.warnings = warnings
        // Of a directory for each array, only those that are taken count.
        var used: Set<ByteKey> = []
        if store.isPlain {
            for tensor in checkpoint.tensors {
                tensor.source.forEachExtent { used.insert(ByteKey($0.source.name)) }
            }
        }
        checkpoint.files = files.files.filter { file in
            !store.isPlain || used.contains(ByteKey(file.source.name))
                || [".zarray", "zarr.json", Self.metadataName].contains(Path.name(of: file.path))
        }
        return checkpoint
    }
}

/// The tree.
extension OrbaxReader {
    private func json(_ bytes: [UInt8], _ file: String) throws(CheckpointError) -> JSONValue {
        do { return try JSONValue(parsing: bytes) } catch {
            throw CheckpointError(
                .malformed, "orbax-metadata", "this is no JSON: \(error)", file: file)
        }
    }

    private mutating func readMetadata() throws(CheckpointError) {
        let name = Self.metadataName
        let metadata = try json(try files.contents(name, limit: UInt64(Self.metadataLimit)), name)
        guard let leaves = metadata["tree_metadata"]?.members else {
            throw CheckpointError(
                .malformed, "orbax-metadata", "the metadata has no tree_metadata", file: name)
        }
        storesEveryChunk = metadata["store_array_data_equal_to_fill_value"]?.bool ?? false
        if metadata["use_ocdbt"]?.bool == true, store.isPlain {
            throw CheckpointError(
                .malformed, "file-missing",
                "the metadata says that the arrays are in OCDBT, but there is no \(OCDBTStore.manifestName)",
                file: name)
        }
        var strings: JSONValue?
        var places: [Step: Int] = [:]
        for leaf in leaves {
            let keys = (leaf.value["key_metadata"]?.elements ?? []).compactMap { Self.key($0["key"]) }
            guard !keys.isEmpty, keys.count == leaf.value["key_metadata"]?.elements?.count, keys.count <= 128
            else {
                throw CheckpointError(
                    .malformed, "orbax-metadata",
                    "the metadata of '\(escapedForDisplay(leaf.key))' has no list of keys", file: name)
            }
            let value = leaf.value["value_metadata"]
            if value?["skip_deserialize"]?.bool == true { continue }
            let path = String(decoding: Array(keys.joined(separator: [0x2E])), as: UTF8.self)
            let content: PyTree.Content
            switch value?["value_type"]?.string {
            case "string":
                if strings == nil, try files.has(Self.stringsName) {
                    strings = try json(try files.contents(Self.stringsName, limit: 1 << 20), Self.stringsName)
                }
                content = strings?[path].map { .value($0) } ?? .left("text that is not there")
            case let type:
                guard let array = try array(path) else {
                    throw CheckpointError(
                        .malformed, "array-missing", "the metadata lists an array that is not stored",
                        file: name, tensor: TensorName(path))
                }
                content = array.asNumber(type == "scalar")
            }
            try place(content, at: keys, &places)
        }
    }

    /// A directory of an older version, without metadata: the arrays by their names.
    private mutating func readNames() throws(CheckpointError) {
        var places: [Step: Int] = [:]
        for name in try store.arrayNames(files) {
            guard let array = try array(name) else { continue }
            let keys = Array(name.utf8).split(separator: 0x2E, omittingEmptySubsequences: false)
            try place(array, at: keys.map { Array($0) }, &places)
        }
    }

    private static func key(_ json: JSONValue?) -> [UInt8]? {
        json?.string.map { Array($0.utf8) } ?? json?.int64.map { Array(String($0).utf8) }
    }

    /// A step down the tree.
    private struct Step: Hashable {
        var parent: Int
        var key: ByteKey
    }

    private mutating func place(
        _ content: PyTree.Content, at keys: [[UInt8]], _ places: inout [Step: Int]
    ) throws(CheckpointError) {
        var current = 0
        for (index, key) in keys.enumerated() {
            let step = Step(parent: current, key: ByteKey(key))
            let isLast = index == keys.count - 1
            if let known = places[step] {
                guard !isLast, case .container = tree.nodes[known].content else {
                    throw CheckpointError(
                        .malformed, "duplicate-key", "two arrays stand at the same place of the tree",
                        file: files.name, tensor: TensorName(tree.shownName(of: known)))
                }
                current = known
            } else {
                current = try tree.add(key, to: current, isLast ? content : .container)
                places[step] = current
            }
        }
    }
}

extension PyTree.Content {
    /// A number where it is one and is meant as one.
    fileprivate func asNumber(_ isNumber: Bool) -> PyTree.Content {
        if isNumber, case .tensor(let tensor) = self, tensor.shape.isEmpty { return .number(tensor) }
        return self
    }
}

/// The arrays.
extension OrbaxReader {
    /// The array of this name, or nil where none is stored.
    private mutating func array(_ name: String) throws(CheckpointError) -> PyTree.Content? {
        var found: (key: String, value: Extent)?
        for suffix in ["/.zarray", "/zarr.json"] where found == nil {
            if let value = try store.value(name + suffix, &files) { found = (name + suffix, value) }
        }
        guard let found else { return nil }
        let tensor = TensorName(name)
        guard found.value.byteCount <= Self.arrayLimit else {
            throw CheckpointError(
                .malformed, "file-too-large", "the metadata of an array has \(found.value.byteCount) bytes",
                file: found.key, tensor: tensor)
        }
        let bytes: [UInt8]
        do {
            bytes = try found.value.source.bytes(
                at: found.value.offset, count: Int(found.value.byteCount))
        } catch { throw CheckpointError(error) }
        do {
            let array = try ZarrArray(try json(bytes, found.key))
            return .tensor(try expression(array, name))
        } catch let error as ZarrArray.Failure {
            let known = CheckpointError(
                error.isUnsupported ? .unsupported : .malformed, error.code,
                error.isUnsupported ? error.message : "the metadata of an array is damaged: \(error.message)",
                file: found.key, tensor: tensor)
            guard error.isUnsupported else { throw known }
            return .unsupported(known)
        } catch let error as ExpressionError {
            throw CheckpointError(
                .malformed, "zarr-metadata", error.description, file: found.key, tensor: tensor)
        } catch let error as CheckpointError {
            throw error
        } catch {
            throw CheckpointError(.malformed, "zarr-metadata", "\(error)", file: found.key, tensor: tensor)
        }
    }

    private mutating func expression(
        _ array: ZarrArray, _ name: String
    ) throws -> TensorExpression {
        let stored = try stored(array, name)
        arrayCount += 1
        let chunks = ZarrChunks(array, name: name, number: arrayCount, stored: stored, cache: cache)
        let width = array.dtype.byteWidth ?? 1
        var fill = array.fill ?? [UInt8](repeating: 0, count: width)
        let swap = array.isBigEndian ? array.dtype.swapWidth : 1
        if swap > 1 {
            fill = stride(from: 0, to: width, by: swap).flatMap { fill[$0..<$0 + swap].reversed() }
        }
        let grid = try ChunkGrid(
            shape: array.shape, chunkShape: array.chunkShape, fill: fill, chunks: chunks)
        let plain = try TensorExpression.chunked(grid, dtype: array.dtype)
        guard swap > 1, grid.byteCount > 0 else { return plain }
        return try TensorExpression(
            dtype: array.dtype, shape: array.shape, source: .byteSwapped(plain.source, width: swap))
    }

    /// What is stored at each position of the grid of keys.
    private mutating func stored(_ array: ZarrArray, _ name: String) throws -> [Extent?] {
        let counts = array.keyCounts
        guard let count = DType.elementCount(of: counts), count <= UInt64(Self.chunkLimit - chunkCount) else {
            throw CheckpointError(
                .malformed, "item-limit", "its arrays have more than \(Self.chunkLimit) chunks",
                file: files.name, tensor: TensorName(name))
        }
        chunkCount += Int(count)
        var result: [Extent?] = []
        var missing: [String] = []
        var position = [UInt64](repeating: 0, count: counts.count)
        for _ in 0..<count {
            let key = array.key(position)
            let value = try store.value("\(name)/\(key)", &files)
            if value == nil, missing.count < 2 { missing.append(key) }
            if let value, array.compression == nil, array.shard == nil, !array.hasChecksum,
                array.dtype.byteCount(of: array.storedShape) != value.byteCount
            {
                throw CheckpointError(
                    .malformed, "chunk-size",
                    "the chunk \(key) has \(value.byteCount) bytes, and not those of shape \(array.storedShape)",
                    file: value.source.name, tensor: TensorName(name))
            }
            result.append(value)
            for axis in position.indices.reversed() {
                position[axis] += 1
                if position[axis] < counts[axis] { break }
                position[axis] = 0
            }
        }
        if let first = missing.first, storesEveryChunk || array.fill == nil {
            warnings.append(
                CheckpointWarning(
                    "chunk-missing",
                    "the chunk \(first)\(missing.count > 1 ? " and others are" : " is") not stored: the elements "
                        + "are taken as the fill value, as Orbax takes them", file: files.name,
                    tensor: TensorName(name)))
        }
        return result
    }
}
