public import TensorCore

/// A SafeTensors file read piece by piece, with errors and never a signal where it changes meanwhile.
public struct SafeTensorsReader: Sendable {
    /// The header.
    public let header: SafeTensorsHeader
    /// Where the bytes come from.
    public let source: any ByteSource

    /// Reads and checks the header of `source`.
    ///
    /// - Parameters:
    ///   - source: the file.
    ///   - mode: what to do with files on which readers disagree.
    ///   - firstReadByteCount: the bytes to read at first; see
    ///     ``SafeTensorsHeader/init(reading:mode:firstReadByteCount:)``.
    /// - Throws: ``SafeTensorsError/Code/io`` where the file cannot be read, else what is wrong with it.
    public init(
        _ source: any ByteSource, mode: ValidationMode = .strict, firstReadByteCount: Int = 0
    ) throws(SafeTensorsError) {
        header = try SafeTensorsHeader(
            reading: source, mode: mode, firstReadByteCount: firstReadByteCount)
        self.source = source
    }

    /// Reads by a header that was checked already; it must be that of `source`.
    ///
    /// - Parameters:
    ///   - source: the file.
    ///   - header: its header.
    public init(_ source: any ByteSource, header: SafeTensorsHeader) {
        self.header = header
        self.source = source
    }

    /// Opens the file at `path` and checks its header.
    ///
    /// - Parameters:
    ///   - path: the file.
    ///   - mode: what to do with files on which readers disagree.
    /// - Throws: ``SafeTensorsError/Code/io`` where the file cannot be read, else what is wrong with it.
    public init(opening path: String, mode: ValidationMode = .strict) throws(SafeTensorsError) {
        let file: InputFile
        do {
            file = try InputFile(path: path)
        } catch {
            throw SafeTensorsError(error)
        }
        do throws(SafeTensorsError) {
            try self.init(file, mode: mode)
        } catch {
            throw error.code != .io && SafeTensorsMetadataEditor.isInterrupted(path)
                ? error.adding(interruptedEditOf: path) : error
        }
    }

    /// Fills the whole of `buffer` with the bytes of a tensor that start at `offset`.
    ///
    /// The tensor must be of this file's header and hold that many bytes from `offset` on.
    ///
    /// - Parameters:
    ///   - tensor: a tensor of this file's header.
    ///   - offset: the first byte to read, from the start of the tensor.
    ///   - buffer: where the bytes go; row-major, little-endian.
    /// - Throws: ``SafeTensorsError/Code/io`` where the file cannot be read or became shorter.
    public func read(
        _ tensor: TensorInfo, at offset: UInt64 = 0, into buffer: inout MutableRawSpan
    ) throws(SafeTensorsError) {
        precondition(offset <= tensor.byteCount && UInt64(buffer.byteCount) <= tensor.byteCount - offset)
        do {
            try source.read(at: tensor.fileRange.lowerBound + offset, into: &buffer)
        } catch {
            throw SafeTensorsError(error)
        }
    }

    /// All bytes of a tensor.
    ///
    /// - Parameter tensor: a tensor of this file's header.
    /// - Returns: its bytes, row-major and little-endian, copied.
    /// - Throws: ``SafeTensorsError/Code/io`` where the file cannot be read or became shorter.
    public func bytes(of tensor: TensorInfo) throws(SafeTensorsError) -> [UInt8] {
        try [UInt8](count: Int(tensor.byteCount)) { (buffer) throws(SafeTensorsError) in
            try read(tensor, into: &buffer)
        }
    }

    /// Reads the data of the tensors whose dtype does not allow every value, and notes the values it forbids.
    ///
    /// Only BOOL is such a dtype. Takes time for the BOOL tensors and a fixed amount of memory.
    public func scanValues() throws(SafeTensorsError) -> SafeTensorsWarnings {
        var warnings = SafeTensorsWarnings()
        let buffer = PageBuffer(capacity: 1 << 18)
        for tensor in header where tensor.dtype == .bool {
            guard let offset = try firstNonCanonicalBool(of: tensor, buffer: buffer) else { continue }
            warnings.add(
                .nonCanonicalBool, at: offset, tensor: tensor.name, "a BOOL element is neither 0 nor 1")
        }
        return warnings
    }

    /// The byte of the file where a BOOL tensor first holds something else than 0 and 1.
    private func firstNonCanonicalBool(
        of tensor: TensorInfo, buffer: PageBuffer
    ) throws(SafeTensorsError) -> UInt64? {
        var done: UInt64 = 0
        while done < tensor.byteCount {
            let count = Int(min(UInt64(buffer.capacity), tensor.byteCount - done))
            try buffer.withMutableBytes(count: count) { (bytes) throws(SafeTensorsError) in
                try read(tensor, at: done, into: &bytes)
            }
            let found = buffer.withBytes(count: count) { bytes in
                (0..<count).first { bytes[$0] > 1 }
            }
            if let found { return tensor.fileRange.lowerBound + done + UInt64(found) }
            done += UInt64(count)
        }
        return nil
    }
}
