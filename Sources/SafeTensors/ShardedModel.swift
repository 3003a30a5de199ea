public import TensorCore

/// A model in several files, read over any source of bytes: local files or ranges of remote objects.
///
/// Opening reads the index once and each shard's header once, or twice where the header is longer than the
/// first read. A tensor takes one read.
///
/// ```swift
/// let model = try ShardedModel(index: try InputFile(path: "model/model.safetensors.index.json")) {
///     (file) throws(IOError) in try InputFile(path: "model/" + file)
/// }
/// let weight = try model.bytes(of: "lm_head.weight")
/// ```
public struct ShardedModel: Sendable {
    /// A file of the model.
    public struct Shard: Sendable {
        /// Its name in the index.
        public let file: String
        /// Its header and bytes.
        public let reader: SafeTensorsReader
    }

    /// The bytes of a shard to read at first: more than most headers have.
    public static let firstReadByteCount = 100_000

    /// Which tensor is in which file.
    public let index: ShardIndex
    /// The files in the order in which the index first names them.
    public let shards: [Shard]
    /// The shard of each tensor of the index.
    private let places: [TensorName: Int]

    /// Opens a model.
    ///
    /// - Parameters:
    ///   - source: the index file.
    ///   - mode: what to do with shards on which readers disagree.
    ///   - firstReadByteCount: the bytes of a shard to read at first.
    ///   - jobs: how many shards to open at the same time, each on a thread of its own.
    ///   - open: gives the source of a shard by its name in the index, a relative path that stays in its
    ///     directory. Called from several threads where `jobs` is more than one.
    /// - Throws: what is wrong with the index or with the first shard that cannot be used, its name at the
    ///   beginning of the message; ``SafeTensorsError/Code/tensorMissing`` where a shard lacks a tensor that the
    ///   index places there; ``SafeTensorsError/Code/io``.
    public init(
        index source: any ByteSource, mode: ValidationMode = .strict,
        firstReadByteCount: Int = ShardedModel.firstReadByteCount, jobs: Int = 1,
        open: @escaping @Sendable (String) throws(IOError) -> any ByteSource
    ) throws(SafeTensorsError) {
        index = try ShardIndex(parsing: Self.document(source))
        let files = index.files
        let opened = Self.readAll(files, jobs: jobs) { (file) throws(SafeTensorsError) in
            let source: any ByteSource
            do throws(IOError) {
                source = try open(file)
            } catch {
                throw SafeTensorsError(error)
            }
            return try SafeTensorsReader(source, mode: mode, firstReadByteCount: firstReadByteCount)
        }
        var shards: [Shard] = []
        for (file, result) in zip(files, opened) {
            do throws(SafeTensorsError) {
                shards.append(Shard(file: file, reader: try result.get()))
            } catch {
                throw error.adding(file: file)
            }
        }
        self.shards = shards
        places = try Self.places(index, shards)
    }

    /// The tensor with this name and the shard that holds it, or nil, in constant time.
    ///
    /// - Parameter name: a name of the index.
    public func tensor(named name: TensorName) -> (info: TensorInfo, shard: Shard)? {
        guard let place = places[name], let info = shards[place].reader.header[name] else { return nil }
        return (info, shards[place])
    }

    /// All bytes of a tensor, in one read.
    ///
    /// - Parameter name: a name of the index.
    /// - Throws: ``SafeTensorsError/Code/tensorMissing`` or ``SafeTensorsError/Code/io``.
    public func bytes(of name: TensorName) throws(SafeTensorsError) -> [UInt8] {
        let (info, shard) = try require(name)
        return try shard.reader.bytes(of: info)
    }

    /// The bytes of part of a tensor; see ``SafeTensorsReader/bytes(of:_:)``.
    ///
    /// - Parameters:
    ///   - name: a name of the index.
    ///   - selections: one for each axis from the outermost on.
    /// - Throws: ``SafeTensorsError/Code/tensorMissing``, what is wrong with the selection, or
    ///   ``SafeTensorsError/Code/io``.
    public func bytes(
        of name: TensorName, _ selections: [AxisSelection]
    ) throws(SafeTensorsError) -> [UInt8] {
        let (info, shard) = try require(name)
        return try shard.reader.bytes(of: info, selections)
    }
}

extension ShardedModel {
    private func require(_ name: TensorName) throws(SafeTensorsError) -> (TensorInfo, Shard) {
        guard let found = tensor(named: name) else {
            throw SafeTensorsError(.tensorMissing, tensor: name, "the index names no such tensor")
        }
        return found
    }

    private static func document(_ source: any ByteSource) throws(SafeTensorsError) -> [UInt8] {
        guard source.byteCount <= UInt64(ShardIndex.byteCountLimit) else {
            throw SafeTensorsError(
                .badIndex, "the index has \(source.byteCount) bytes, over \(ShardIndex.byteCountLimit)")
        }
        do {
            return try source.bytes(at: 0, count: Int(source.byteCount))
        } catch {
            throw SafeTensorsError(error)
        }
    }

    /// What `read` makes of each file, on `jobs` threads.
    private static func readAll(
        _ files: [String], jobs: Int,
        _ read: @escaping @Sendable (String) throws(SafeTensorsError) -> SafeTensorsReader
    ) -> [Result<SafeTensorsReader, SafeTensorsError>] {
        typealias Outcome = Result<SafeTensorsReader, SafeTensorsError>
        let board = Monitor<(next: Int, results: [Outcome?])>(
            (0, Array(repeating: nil, count: files.count)))
        Workers.run(count: min(max(1, jobs), files.count)) { _ in
            while true {
                let number = board.withLock { board in
                    defer { board.next += 1 }
                    return board.next
                }
                guard number < files.count else { return }
                let outcome = Outcome { () throws(SafeTensorsError) in try read(files[number]) }
                board.withLock { $0.results[number] = outcome }
            }
        }
        return board.withLock { $0.results.compactMap { $0 } }
    }

    /// The shard of each tensor, after a check that it is there.
    private static func places(
        _ index: ShardIndex, _ shards: [Shard]
    ) throws(SafeTensorsError) -> [TensorName: Int] {
        var numbers: [ByteKey: Int] = [:]
        for (number, shard) in shards.enumerated() { numbers[ByteKey(shard.file)] = number }
        var places: [TensorName: Int] = [:]
        places.reserveCapacity(index.entries.count)
        for entry in index.entries {
            guard let number = numbers[ByteKey(entry.file)],
                shards[number].reader.header.index(of: entry.tensor) != nil
            else {
                throw SafeTensorsError(
                    .tensorMissing, tensor: entry.tensor,
                    "the index places the tensor in \(escapedForDisplay(entry.file)), which lacks it")
            }
            places[entry.tensor] = number
        }
        return places
    }
}

extension SafeTensorsError {
    /// The error with the name of the shard that it is about, unless it names a file already.
    fileprivate func adding(file: String) -> SafeTensorsError {
        guard code != .io else { return self }
        var result = self
        result.message = "\(escapedForDisplay(file)): \(message)"
        return result
    }
}
