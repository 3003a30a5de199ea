internal import Checkpoints
internal import Integrity
internal import StrictJSON
internal import TensorCore

/// A plan as JSON: what is read, and every byte that is written, with its place and how it comes about.
extension ExportPlan {
    /// Identifies the plan: the SHA-256 of its JSON and of the digests that are taken on the way.
    func digest(_ choice: DigestChoice) -> SHA256Digest {
        var hasher = SHA256Hasher()
        var writer = JSONObjectWriter { hasher.update($0.span.bytesView) }
        writer.member("digests", .integer(choice.rawValue))
        write(to: &writer)
        writer.finish()
        return hasher.finish()
    }

    /// Writes the members.
    func write(to writer: inout JSONObjectWriter) {
        writer.member("source_format", .string(checkpoint.format))
        writer.member("source_files", elements: checkpoint.files.lazy.map(\.planJSON))
        writer.member("files", elements: outputs.lazy.map(\.planJSON))
        writer.member(
            "tensors",
            elements: shards.lazy.flatMap { shard in
                shard.tensors.lazy.map { $0.planJSON(in: shard.fileName) }
            })
    }
}

extension SourceFile {
    fileprivate var planJSON: JSONValue {
        var members: [JSONMember] = [
            .init("path", .string(path)), .init("location", .string(source.name)),
            .init("size", .integer(source.byteCount)),
        ]
        if let input { members.append(.init("mtime_ns", .integer(input.identity.modifiedNanosecondsTotal))) }
        return .object(members)
    }
}

extension ExportPlan.Output {
    fileprivate var planJSON: JSONValue {
        var members: [JSONMember] = [
            .init("path", .string(path)), .init("role", .string(role)),
            .init("size", .integer(source.byteCount)),
        ]
        if let input = source as? InputFile {
            members.append(.init("copied_from", .string(input.name)))
            members.append(.init("mtime_ns", .integer(input.identity.modifiedNanosecondsTotal)))
        } else if let memory = source as? MemorySource {
            members.append(.init("sha256", .string(SHA256Digest.of(memory.contents.span.bytesView).hex)))
        } else if let content = source as? ShardContent {
            members.append(.init("header_nbytes", .integer(content.header.count)))
            members.append(
                .init("header_sha256", .string(SHA256Digest.of(content.header.span.bytesView).hex)))
        }
        return .object(members)
    }
}

extension ExportPlan.Item {
    fileprivate func planJSON(in file: String) -> JSONValue {
        .object([
            .init("name", .string(tensor.name.string)), .init("dtype", .string(tensor.dtype.name)),
            .init("shape", .array(tensor.shape.map { .integer($0) })), .init("file", .string(file)),
            .init("offset", .integer(offset)), .init("nbytes", .integer(tensor.byteCount)),
            .init("from", tensor.source.planJSON),
        ])
    }
}
