internal import Archives
internal import Checkpoints
internal import Synchronization
internal import TensorCore

extension DCPSliceReader {
    /// A part whose archive is compressed; it is looked into when the part is read.
    func compressed(
        _ file: any ByteSource, _ range: Range<UInt64>, element: TorchElement, shape: [UInt64],
        _ name: [UInt8]
    ) throws(CheckpointError) -> Part {
        guard let dtype = element.dtype else { throw .unrepresentable(element, file: file.name) }
        let flat = dtype == .f4 ? .u8 : dtype
        guard let byteCount = flat.byteCount(of: shape), byteCount <= UInt64(Int64.max) else {
            throw CheckpointError(
                .malformed, "shape-overflow", "the size of the tensor is beyond 64 bits", file: file.name)
        }
        let source = CompressedPart(
            file: file, range: range, element: element, shape: shape, tensor: name, byteCount: byteCount)
        do {
            let expression = try TensorExpression(
                dtype: flat, shape: shape,
                source: .extent(Extent(source: source, offset: 0, byteCount: byteCount)))
            return Part(expression: expression, checksums: [], lacksChecksum: false)
        } catch {
            throw CheckpointError(.malformed, "bad-tensor", error.description, file: file.name)
        }
    }
}

extension CheckpointError {
    /// The error for elements that SafeTensors has no dtype for.
    static func unrepresentable(_ element: TorchElement, file: String) -> CheckpointError {
        CheckpointError(
            .unsupported, "dtype-unsupported",
            "SafeTensors has no dtype for \(element.name): convert the tensor first", file: file)
    }
}

/// The elements of a tensor in an archive that is compressed as a whole.
///
/// The size of the archive and the place of the elements in it are known only once it was decompressed, which the
/// first read does; its CRC-32 is checked then too.
final class CompressedPart: ByteSource {
    let name: String
    let byteCount: UInt64
    private let file: any ByteSource
    private let range: Range<UInt64>
    private let element: TorchElement
    private let shape: [UInt64]
    private let tensor: [UInt8]
    private let elements = Mutex<TensorSource?>(nil)

    init(
        file: any ByteSource, range: Range<UInt64>, element: TorchElement, shape: [UInt64], tensor: [UInt8],
        byteCount: UInt64
    ) {
        self.file = file
        self.range = range
        self.element = element
        self.shape = shape
        self.tensor = tensor
        self.byteCount = byteCount
        name = "\(file.name) (decompressed from byte \(range.lowerBound))"
    }

    /// A read that goes back may decompress everything again.
    var readCost: Int { 1 << 20 }

    func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(IOError) {
        let source = try elements.withLock { (known) throws(IOError) in
            if let known { return known }
            let found = try find()
            known = found
            return found
        }
        try source.read(at: offset, into: &buffer)
    }

    /// Decompresses the archive to see how long it is, and finds the elements in it.
    private func find() throws(IOError) -> TensorSource {
        // An archive of one tensor has little more than its elements, which may be part of a larger storage.
        let limit = byteCount &* 8 + (16 << 20)
        guard
            let size = try DecompressedSource.size(
                of: file, range: range, compression: .zstd, limit: limit, mayEndEarly: true)
        else { throw failure("it holds far more than the tensor's \(byteCount) bytes") }
        let archive = DecompressedSource(
            name: name, of: file, range: range, compression: .zstd, byteCount: size, mayEndEarly: true)
        do throws(CheckpointError) {
            let object = try DCPSliceReader.object(in: archive, 0..<size, name)
            for checksum in object.checksums { try check(checksum, of: archive) }
            var builder = TensorBuilder(heap: object.heap, storages: object.storages, file: name)
            return try DCPSliceReader.record(object, &builder, element: element, shape: shape, tensor).source
        } catch {
            throw failure(error.message)
        }
    }

    private func check(_ checksum: RangeChecksum, of archive: DecompressedSource) throws(CheckpointError) {
        var crc: UInt32 = 0
        var position = checksum.range.lowerBound
        while position < checksum.range.upperBound {
            let count = Int(min(1 << 20, checksum.range.upperBound - position))
            let bytes: [UInt8]
            do { bytes = try archive.bytes(at: position, count: count) } catch {
                throw CheckpointError(error)
            }
            crc = crc32(bytes.span.bytesView, seed: crc)
            position += UInt64(count)
        }
        guard crc == checksum.crc32 else {
            throw CheckpointError(
                .malformed, "crc-mismatch",
                "the tensor's bytes do not have the CRC-32 that the archive states", file: name)
        }
    }

    private func failure(_ detail: String) -> IOError {
        IOError(
            .unreadable, path: file.name, operation: "decompress tensor \(TensorName(utf8: tensor)) of",
            offset: range.lowerBound, detail: detail)
    }
}
