public import TensorCore

/// A SafeTensors file mapped into memory, whose tensors are seen without a copy.
///
/// ```swift
/// let file = try SafeTensorsFile(mapping: "model.safetensors")
/// if let weight = file.tensor(named: "lm_head.weight"), let values = weight.elements(as: Float.self) {
///     print(weight.info.shape, values[0])
/// }
/// ```
///
/// Map only files that nothing shortens meanwhile: touching lost pages kills the process. ``SafeTensorsReader``
/// has no such weakness.
public struct SafeTensorsFile: Sendable {
    /// The header.
    public let header: SafeTensorsHeader
    private let mapping: MappedFile

    /// Maps the file at `path` and checks its header.
    ///
    /// - Parameters:
    ///   - path: the file.
    ///   - mode: what to do with files on which readers disagree.
    /// - Throws: ``SafeTensorsError/Code/io`` where the file cannot be read, else what is wrong with it.
    public init(mapping path: String, mode: ValidationMode = .strict) throws(SafeTensorsError) {
        do {
            mapping = try MappedFile(path: path)
        } catch {
            throw SafeTensorsError(error)
        }
        header = try SafeTensorsHeader(reading: MappedSource(mapping: mapping), mode: mode)
    }

    /// The tensor with this name, or nil.
    ///
    /// - Parameter name: the tensor's name, compared as bytes.
    /// - Returns: the tensor, which keeps the mapping; in constant time.
    public func tensor(named name: TensorName) -> TensorView? { header[name].map { view($0) } }

    /// The tensor at a position of the header.
    ///
    /// - Parameter position: one of the header's indices.
    /// - Returns: the tensor, which keeps the mapping; in time in proportion to its name and rank.
    public func tensor(at position: Int) -> TensorView { view(header[position]) }

    private func view(_ info: TensorInfo) -> TensorView { TensorView(info: info, mapping: mapping) }
}

/// A tensor of a mapped file.
///
/// The view keeps the mapping alive; it can be copied, stored and sent to other tasks. The spans that it gives
/// cannot outlive it.
public struct TensorView: Sendable {
    /// What the header says about the tensor.
    public let info: TensorInfo
    private let mapping: MappedFile

    fileprivate init(info: TensorInfo, mapping: MappedFile) {
        self.info = info
        self.mapping = mapping
    }

    /// The elements' bytes, row-major and little-endian.
    public var bytes: RawSpan {
        @_lifetime(borrow self)
        get {
            let range = Int(info.fileRange.lowerBound)..<Int(info.fileRange.upperBound)
            return mapping.bytes.extracting(range)
        }
    }

    /// The elements without a copy, or nil where `T` does not fit the dtype or the data is not aligned for it.
    ///
    /// Elements are little-endian, so this is nil for multi-byte types on a big-endian machine.
    ///
    /// - Parameter type: the type to see the elements as.
    /// - Returns: all elements in row-major order, without a copy, or nil; in constant time.
    @_lifetime(borrow self)
    public func elements<T: TensorElement>(as type: T.Type) -> Span<T>? {
        guard T.canView(info.dtype), MemoryLayout<T>.size == 1 || 1.littleEndian == 1 else { return nil }
        return bytes.view(as: type)
    }
}

/// A mapped file as a source of bytes, to read the header from.
private struct MappedSource: ByteSource {
    let mapping: MappedFile
    var name: String { mapping.path }
    var byteCount: UInt64 { UInt64(mapping.byteCount) }

    func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(IOError) {
        guard offset <= byteCount, UInt64(buffer.byteCount) <= byteCount - offset else {
            throw IOError(.unexpectedEnd, path: name, operation: "read", offset: offset)
        }
        let start = Int(offset)
        copyBytes(from: mapping.bytes.extracting(start..<start + buffer.byteCount), to: &buffer)
    }
}
