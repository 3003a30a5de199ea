internal import StrictJSON
public import TensorCore

/// The header of a SafeTensors file, checked against the size of the file: a collection of its tensors.
///
/// A header costs its own bytes and about 34 bytes a tensor; names and shapes are decoded when asked for.
/// Tensors come in the order of the header; see ``offsetOrder`` for the order of their data.
public struct SafeTensorsHeader: Sendable {
    /// The longest header, in bytes, that the format allows.
    public static let maximumHeaderByteCount = 100_000_000

    /// The size of the header without the eight bytes of its length.
    public var headerByteCount: UInt64 { UInt64(json.count) }
    /// The byte of the file where the data section begins.
    public var dataOffset: UInt64 { headerByteCount + 8 }
    /// The size of the data section, in bytes.
    public let dataByteCount: UInt64
    private let json: [UInt8]
    private let index: HeaderIndex

    /// Checks a header that was read already.
    ///
    /// - Parameters:
    ///   - json: the bytes after the header length.
    ///   - fileByteCount: the size of the whole file, at least eight bytes more than `json`.
    ///   - mode: what to do with files on which readers disagree.
    public init(
        parsing json: [UInt8], fileByteCount: UInt64, mode: ValidationMode = .strict
    ) throws(SafeTensorsError) {
        guard json.count <= Self.maximumHeaderByteCount else {
            throw .headerTooLarge(UInt64(json.count))
        }
        guard fileByteCount >= UInt64(json.count) + 8 else {
            throw .headerTruncated(fileByteCount)
        }
        let bytes = RawSpan(_elements: json.span)
        var parser = try HeaderParser(bytes, mode: mode)
        try parser.parse()
        try parser.settleNames()
        try parser.settleMetadata()
        var index = parser.index
        let dataOffset = UInt64(json.count) + 8
        dataByteCount = fileByteCount - dataOffset
        try HeaderLayoutCheck(dataOffset: dataOffset, dataByteCount: dataByteCount).apply(
            to: &index, bytes: bytes)
        self.json = json
        self.index = index
    }

    /// What was odd about the header.
    public var warnings: SafeTensorsWarnings { index.warnings }

    /// True where `__metadata__` is an object, even an empty one.
    ///
    /// Some loaders treat a file with metadata but without a `format` entry differently from one without any.
    public var hasMetadata: Bool { index.hasMetadata }

    /// The entries of `__metadata__` in the order of the header.
    ///
    /// Each is decoded when it is asked for.
    public var metadata: SafeTensorsMetadata { SafeTensorsMetadata(json: json, keys: index.metadataKeys) }

    /// The position of the tensor with this name, or nil, in constant time.
    ///
    /// - Parameter name: the tensor's name, compared as bytes.
    /// - Returns: its position in the header.
    public func index(of name: TensorName) -> Int? {
        index.table.index(
            of: RawSpan(_elements: name.utf8.span), among: index.names, in: RawSpan(_elements: json.span))
    }

    /// The tensor with this name, or nil, in constant time.
    public subscript(name: TensorName) -> TensorInfo? { index(of: name).map { self[$0] } }

    /// The dtype and the size in bytes of the tensor at a position, without decoding its name and shape.
    public func size(at position: Int) -> (dtype: DType, byteCount: UInt64) {
        let entry = index.entries[position]
        return (entry.dtype, entry.end - entry.begin)
    }

    /// The positions of the tensors in the order of their data.
    public var offsetOrder: [Int] { index.offsetOrder?.map { Int($0) } ?? Array(indices) }
}

extension SafeTensorsHeader: RandomAccessCollection {
    /// The first position.
    public var startIndex: Int { 0 }

    /// The number of tensors.
    public var endIndex: Int { index.entries.count }

    /// The tensor at a position of the header.
    public subscript(position: Int) -> TensorInfo {
        let bytes = RawSpan(_elements: json.span)
        let entry = index.entries[position]
        return TensorInfo(
            name: index.name(position, in: bytes), dtype: entry.dtype,
            shape: index.shape(position, in: bytes),
            dataOffsets: entry.begin..<entry.end,
            fileRange: dataOffset + entry.begin..<dataOffset + entry.end)
    }
}

extension SafeTensorsHeader {
    /// Reads and checks the header of a file: the eight bytes of its length and the header, no data.
    ///
    /// Takes one read where the first covers the header, else two.
    ///
    /// - Parameters:
    ///   - source: the file.
    ///   - mode: what to do with files on which readers disagree.
    ///   - firstReadByteCount: the bytes to read at first, at least 64. Few suit a local file, where a read
    ///     costs little; for a remote one a guess that covers most headers, such as 100,000, saves a request.
    /// - Throws: ``SafeTensorsError/Code/io`` where the source cannot be read, else what is wrong with it.
    public init(
        reading source: any ByteSource, mode: ValidationMode = .strict, firstReadByteCount: Int = 0
    ) throws(SafeTensorsError) {
        let size = source.byteCount
        let firstByteCount = Swift.min(
            size, UInt64(Swift.max(Lookalike.prefixByteCount, firstReadByteCount)),
            UInt64(Self.maximumHeaderByteCount + 8))
        let first = try source.header(at: 0, count: Int(firstByteCount))
        let prefix = Array(first.prefix(Lookalike.prefixByteCount))
        let count = try Self.headerByteCount(prefix: prefix, fileByteCount: size)
        do {
            try self.init(
                parsing: try source.header(following: first, count: count), fileByteCount: size, mode: mode)
        } catch {
            throw error.adding(hint: Lookalike.hint(prefix))
        }
    }

    /// The size of the header of a file that begins with `prefix`, checked against the size of the file.
    ///
    /// - Parameters:
    ///   - prefix: the first bytes; eight suffice, 64 let an error say what the file is instead.
    ///   - fileByteCount: the size of the whole file.
    public static func headerByteCount(
        prefix: [UInt8], fileByteCount: UInt64
    ) throws(SafeTensorsError) -> Int {
        let hint = Lookalike.hint(prefix)
        guard prefix.count >= 8, fileByteCount >= 8 else {
            throw SafeTensorsError(
                .headerTooSmall,
                "the file has \(fileByteCount) bytes, fewer than the eight of the header length"
            ).adding(hint: hint)
        }
        let count = RawSpan(_elements: prefix.span).load(littleEndian: UInt64.self, at: 0)
        guard count <= UInt64(maximumHeaderByteCount) else { throw .headerTooLarge(count).adding(hint: hint) }
        guard count <= fileByteCount - 8 else { throw .headerTruncated(fileByteCount).adding(hint: hint) }
        return Int(count)
    }
}

extension ByteSource {
    fileprivate func header(at offset: UInt64, count: Int) throws(SafeTensorsError) -> [UInt8] {
        do {
            return try bytes(at: offset, count: count)
        } catch {
            throw SafeTensorsError(error)
        }
    }

    /// The `count` bytes after the first eight, of which `first` holds those at the beginning.
    fileprivate func header(following first: [UInt8], count: Int) throws(SafeTensorsError) -> [UInt8] {
        let known = Swift.min(first.count - 8, count)
        do {
            return try [UInt8](count: count) { (buffer) throws(IOError) in
                copyBytes(from: first.span.bytesView, at: 8, to: &buffer, at: 0, count: known)
                guard known < count else { return }
                var rest = buffer._mutatingExtracting(known..<count)
                try read(at: UInt64(first.count), into: &rest)
            }
        } catch {
            throw SafeTensorsError(error)
        }
    }
}

extension SafeTensorsError {
    fileprivate static func headerTooLarge(_ count: UInt64) -> SafeTensorsError {
        SafeTensorsError(
            .headerTooLarge,
            "the header length is \(count), over the limit of \(SafeTensorsHeader.maximumHeaderByteCount) bytes"
        )
    }

    fileprivate static func headerTruncated(_ fileByteCount: UInt64) -> SafeTensorsError {
        SafeTensorsError(
            .headerTruncated, at: fileByteCount, "the file ends within the header: it was cut short")
    }

    /// The error with a word on what the file is instead, where that is why it is refused.
    fileprivate func adding(hint: String?) -> SafeTensorsError {
        guard let hint else { return self }
        switch code {
        case .headerTooSmall, .headerTooLarge, .headerTruncated, .headerNotUTF8, .headerNotJSON:
            var result = self
            result.message += ": \(hint)"
            return result
        default: return self
        }
    }
}
