internal import CheckpointFormats
internal import Checkpoints
internal import TensorCore

extension OpenedModel {
    /// Far more than any file has that describes a model.
    private static let contentsLimit = 256 << 20

    /// Whether a file of this name belongs to the model.
    func has(_ name: String) -> Bool { sideFiles.contains { $0.file.name.utf8.elementsEqual(name.utf8) } }

    /// The path of a file that belongs to the model; any other name as it is.
    func place(of name: String) -> String {
        has(name) ? directory.map { Path.join($0.path, name) } ?? name : name
    }

    /// The bytes of a file that belongs to the model; nil where it is not there.
    ///
    /// - Parameter inputs: gets the file, so that it can be told whether it changed in the meantime.
    func contents(of name: String, _ inputs: inout [InputFile]) throws(CheckpointError) -> [UInt8]? {
        guard let side = sideFiles.first(where: { $0.file.name.utf8.elementsEqual(name.utf8) }) else {
            return nil
        }
        do throws(IOError) {
            guard let source = side.embedded else {
                let file = try InputFile(path: Path.join(directory?.path ?? "", name))
                inputs.append(file)
                return try file.contents(limit: Self.contentsLimit)
            }
            guard source.byteCount <= UInt64(Self.contentsLimit) else {
                throw IOError(.unreadable, path: name, operation: "read", detail: "it is too large")
            }
            return try source.bytes(at: 0, count: Int(source.byteCount))
        } catch {
            throw CheckpointError(error)
        }
    }
}

extension InputFile {
    /// All bytes of the file, which must not be larger than `limit`.
    func contents(limit: Int) throws(IOError) -> [UInt8] {
        guard byteCount <= UInt64(limit) else {
            throw IOError(
                .unreadable, path: name, operation: "read", detail: "it has more than \(limit) bytes")
        }
        return try bytes(at: 0, count: Int(byteCount))
    }
}
