public import TensorCore

/// Writes a SafeTensors file as its tensors' bytes come, in the order of the layout.
///
/// ```swift
/// let layout = try SafeTensorsLayout(tensors: [("bias", .f32, [3])], metadata: [("format", "pt")])
/// var writer = try SafeTensorsWriter(replacing: "model.safetensors", layout: layout)
/// for tensor in layout.tensors { try writer.append(bytes(of: tensor.name), to: tensor.name) }
/// try writer.commit()
/// ```
///
/// The destination appears, or is replaced, only by ``commit()``; a writer that is dropped before leaves
/// nothing. A replaced file keeps its permissions; a new one gets those that the umask leaves; where the path is
/// a symbolic link, the file that it leads to is replaced.
public struct SafeTensorsWriter: ~Copyable {
    /// The layout.
    public let layout: SafeTensorsLayout
    private var file: ReplacementFile
    /// The tensor that gets the next byte, and how many of its bytes are written.
    private var current = 0
    private var written: UInt64 = 0

    /// Creates a temporary file beside the destination and writes the header to it.
    ///
    /// - Parameters:
    ///   - path: the destination, whose directory must exist.
    ///   - layout: what will be written, and where.
    /// - Throws: ``SafeTensorsError/Code/io`` where the file cannot be created or the disk has no room.
    public init(replacing path: String, layout: SafeTensorsLayout) throws(SafeTensorsError) {
        self.layout = layout
        file = try Self.begin(path, layout)
        passCompleteTensors()
    }

    private static func begin(
        _ path: String, _ layout: SafeTensorsLayout
    ) throws(SafeTensorsError) -> ReplacementFile {
        do {
            let file = try ReplacementFile(for: path)
            try file.reserve(byteCount: layout.fileByteCount)
            try file.write(layout.header.span.bytesView, at: 0)
            return file
        } catch {
            throw SafeTensorsError(error)
        }
    }

    /// Writes the next bytes of a tensor, which must be the next of the layout that lacks bytes.
    ///
    /// - Parameters:
    ///   - bytes: as many as are at hand, row-major and little-endian.
    ///   - name: the tensor.
    /// - Throws: ``SafeTensorsError/Code/wrongByteCount`` where another tensor is due or lacks fewer bytes.
    public mutating func append(_ bytes: RawSpan, to name: TensorName) throws(SafeTensorsError) {
        guard bytes.byteCount > 0 else { return }
        guard current < layout.tensors.count, layout.tensors[current].name == name else {
            throw SafeTensorsError(.wrongByteCount, tensor: name, "\(dueDescription), not this tensor")
        }
        let tensor = layout.tensors[current]
        let missing = tensor.byteCount - written
        guard UInt64(bytes.byteCount) <= missing else {
            throw SafeTensorsError(
                .wrongByteCount, at: tensor.fileRange.lowerBound + written, tensor: name,
                "\(bytes.byteCount) bytes were given where \(missing) are missing")
        }
        do {
            try file.write(bytes, at: tensor.fileRange.lowerBound + written)
        } catch {
            throw SafeTensorsError(error)
        }
        written += UInt64(bytes.byteCount)
        passCompleteTensors()
    }

    /// Brings the file to stable storage and puts it in the destination's place.
    ///
    /// - Throws: ``SafeTensorsError/Code/wrongByteCount`` where a tensor lacks bytes; nothing is replaced then.
    public consuming func commit() throws(SafeTensorsError) {
        guard current == layout.tensors.count else {
            let tensor = layout.tensors[current]
            throw SafeTensorsError(
                .wrongByteCount, at: tensor.fileRange.lowerBound + written, tensor: tensor.name,
                "\(tensor.byteCount - written) bytes are missing")
        }
        do {
            try file.commit()
        } catch {
            throw SafeTensorsError(error)
        }
    }

    private mutating func passCompleteTensors() {
        while current < layout.tensors.count, layout.tensors[current].byteCount == written {
            current += 1
            written = 0
        }
    }

    private var dueDescription: String {
        current < layout.tensors.count
            ? "the bytes of \"\(layout.tensors[current].name)\" are due" : "all tensors are written"
    }
}
