internal import Archives
internal import Checkpoints
internal import TensorCore

/// Reads the archives that the items of a `torch.distributed.checkpoint` are, one slice of a file each.
struct DCPSliceReader: Sendable {
    /// The opened files by path.
    let files: [ByteKey: any ByteSource]

    /// A part of a tensor that was found, and the checksums of its bytes.
    struct Part: Sendable {
        var expression: TensorExpression
        var checksums: [RangeChecksum]
        var lacksChecksum: Bool
    }

    /// The elements that a slice holds, which must be of this kind and shape.
    func part(
        _ slice: DCPMetadata.Slice, element: TorchElement, shape: [UInt64], of name: [UInt8]
    ) throws(CheckpointError) -> Part {
        do {
            let (file, range) = try place(of: slice)
            if try isCompressed(slice, file) {
                return try compressed(file, range, element: element, shape: shape, name)
            }
            let object = try Self.object(in: file, range, slice.file)
            var builder = TensorBuilder(heap: object.heap, storages: object.storages, file: slice.file)
            let record = try Self.record(object, &builder, element: element, shape: shape, name)
            return Part(
                expression: try Self.expression(record, shape: shape, slice.file),
                checksums: object.checksums, lacksChecksum: object.lacksChecksum)
        } catch {
            throw error.naming(name)
        }
    }

    /// The value that a slice holds, as a pickle's result.
    func value(_ slice: DCPMetadata.Slice, limit: Int) throws(CheckpointError) -> SavedObject? {
        let (file, range) = try place(of: slice)
        guard range.upperBound - range.lowerBound <= UInt64(limit) else { return nil }
        guard try isCompressed(slice, file) else { return try Self.object(in: file, range, slice.file) }
        // PyTorch does not always finish the stream; the archive in it has an end of its own.
        let contents: [UInt8]?
        do {
            contents = try DecompressedSource.contents(
                of: file, range: range, compression: .zstd, limit: limit, mayEndEarly: true)
        } catch { throw Self.damaged(error) }
        guard let contents else { return nil }
        return try Self.object(
            in: MemorySource(name: file.name, contents: contents), 0..<UInt64(contents.count), slice.file)
    }
}

extension DCPSliceReader {
    /// The file that a slice is in, and its bytes there.
    private func place(
        of slice: DCPMetadata.Slice
    ) throws(CheckpointError) -> (any ByteSource, Range<UInt64>) {
        guard let file = files[ByteKey(slice.file)] else {
            throw CheckpointError(
                .malformed, "file-missing", "its file '\(escapedForDisplay(slice.file))' is not there",
                file: slice.file)
        }
        let (end, overflow) = slice.offset.addingReportingOverflow(slice.byteCount)
        guard !overflow, end <= file.byteCount else {
            throw CheckpointError(
                .malformed, "truncated",
                "the file has \(file.byteCount) bytes and the metadata refers to \(slice.byteCount) bytes at byte "
                    + "\(slice.offset): the file is not whole, or is another save's", file: slice.file)
        }
        return (file, slice.offset..<end)
    }

    private func isCompressed(
        _ slice: DCPMetadata.Slice, _ file: any ByteSource
    ) throws(CheckpointError) -> Bool {
        if slice.transforms.isEmpty { return false }
        guard slice.transforms.count == 1, slice.transforms[0].hasPrefix("stream.zstd/1") else {
            let names = slice.transforms.map(escapedForDisplay).joined(separator: ", ")
            throw CheckpointError(
                .unsupported, "transform-unknown",
                "it is stored by way of \(names), and only stream.zstd/1 is known: save without it",
                file: slice.file)
        }
        return true
    }

    /// The one value of an archive in a range of a file.
    static func object(
        in file: any ByteSource, _ range: Range<UInt64>, _ name: String
    ) throws(CheckpointError) -> SavedObject {
        let source: PreloadedSource
        do { source = try PreloadedSource(file, edgesOf: range) } catch { throw CheckpointError(error) }
        var object = try ArchiveCheckpoint(source, range: range, displayName: name)
            .object(globals: .distributed)
        object.storages.replaceSource(by: file)
        return object
    }

    /// The tensor that an archive holds, which must be what the metadata says.
    static func record(
        _ object: SavedObject, _ builder: inout TensorBuilder, element: TorchElement, shape: [UInt64],
        _ name: [UInt8]
    ) throws(CheckpointError) -> TensorRecord {
        guard case .call(let number) = object.top else {
            throw CheckpointError(
                .malformed, "not-a-tensor",
                "the metadata calls it a tensor, and its file holds something else",
                file: object.file)
        }
        let record = try builder.record(object.heap.calls[Int(number)], named: TensorName(utf8: name))
        var stored = record.shape
        if record.dtype == .f4, let last = stored.indices.last { stored[last] /= 2 }
        guard record.dtype == element.dtype, stored == shape else {
            throw CheckpointError(
                .malformed, "chunk-mismatch",
                "the metadata says \(element.name) of shape \(shape), and its file holds "
                    + "\(record.dtype.name) of shape \(stored): the files are not of one save",
                file: object.file)
        }
        return record
    }

    /// Elements that tiles can be made of: pairs of F4 are whole bytes there.
    static func expression(
        _ record: TensorRecord, shape: [UInt64], _ file: String
    ) throws(CheckpointError) -> TensorExpression {
        do {
            return try TensorExpression(
                dtype: record.dtype == .f4 ? .u8 : record.dtype, shape: shape, source: record.source)
        } catch {
            throw CheckpointError(.malformed, "bad-tensor", error.description, file: file)
        }
    }

    static func damaged(_ error: IOError) -> CheckpointError {
        error.code == .unreadable
            ? CheckpointError(
                .malformed, "zstd-corrupt", error.detail, file: error.path, offset: error.offset)
            : CheckpointError(error)
    }
}

extension CheckpointError {
    /// The error with the tensor that it is about, where it does not say so itself.
    func naming(_ name: [UInt8]) -> CheckpointError {
        var result = self
        if result.tensor == nil { result.tensor = TensorName(utf8: name) }
        return result
    }
}
