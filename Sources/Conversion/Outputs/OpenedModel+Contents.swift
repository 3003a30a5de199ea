internal import CheckpointFormats
internal import Checkpoints
internal import TensorCore

extension OpenedModel {
    /// Far more than any file has that describes a model.
    private static let contentsLimit = 256 << 20

    /// The bytes of a file that belongs to the model; nil where it is not there.
    func contents(of name: String) throws(CheckpointError) -> [UInt8]? {
        guard let side = sideFiles.first(where: { $0.file.name.utf8.elementsEqual(name.utf8) }) else {
            return nil
        }
        do throws(IOError) {
            guard let source = side.embedded else {
                return try FileSystem.contents(
                    of: Path.join(directory?.path ?? "", name), limit: Self.contentsLimit)
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
