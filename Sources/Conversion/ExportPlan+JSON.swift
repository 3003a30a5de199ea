internal import Checkpoints
internal import Integrity
internal import StrictJSON
internal import TensorCore

/// A plan as JSON: what is read, and every byte that is written, with its place and how it comes about.
extension ExportPlan {
    /// What `schema` says.
    static var schema: String { "artifact.plan/v1" }

    /// Writes the plan as `Formats/plan` describes it.
    ///
    /// - Parameters:
    ///   - arguments: the arguments of `artifact export` that lead to this plan.
    ///   - tool: the program's name and version.
    ///   - sink: takes the bytes, piece by piece.
    public func write(
        arguments: [String], tool: (name: String, version: String), to sink: @escaping ([UInt8]) -> Void
    ) {
        var writer = JSONObjectWriter(sink: sink)
        writer.member("schema", .string(Self.schema))
        writer.member(
            "tool", .object([.init("name", .string(tool.name)), .init("version", .string(tool.version))]))
        writer.member("arguments", .array(arguments.map { .string($0) }))
        writer.member("digest", .string(digest.hex))
        writer.member("nbytes", .integer(byteCount))
        writer.member(
            "transforms",
            elements: Manifest.transforms(of: self).map {
                .object([.init("kind", .string($0.kind))] + $0.parameters)
            })
        writeContent(to: &writer)
        writer.member("items", elements: items().lazy.map(\.json))
        writer.finish()
    }

    /// Identifies what is read and what is written: the SHA-256 of that part of the JSON.
    var digest: SHA256Digest {
        var hasher = SHA256Hasher()
        var writer = JSONObjectWriter { hasher.update($0.span.bytesView) }
        writeContent(to: &writer)
        writer.finish()
        return hasher.finish()
    }

    private func writeContent(to writer: inout JSONObjectWriter) {
        writer.member("source_format", .string(checkpoint.format))
        writer.member("source_files", elements: checkpoint.files.lazy.map(\.planJSON))
        writer.member("files", elements: outputs.lazy.map(\.planJSON))
        writer.member(
            "tensors",
            elements: shards.lazy.flatMap { shard in
                shard.tensors.lazy.map { $0.planJSON(in: shard.fileName) }
            })
        writer.member(
            "ties",
            elements: ties.lazy.map {
                .object([
                    .init("name", .string($0.dropped.string)), .init("kept", .string($0.kept.string)),
                ])
            })
        writer.member(
            "skipped",
            elements: skipped.lazy.map {
                .object([.init("name", .string($0.name)), .init("reason", .string($0.reason))])
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
            var hasher = SHA256Hasher()
            for frame in content.frames { hasher.update(frame.bytes.span.bytesView) }
            let count = content.frames.reduce(0) { $0 + $1.bytes.count }
            members.append(.init("header_nbytes", .integer(count)))
            members.append(.init("header_sha256", .string(hasher.finish().hex)))
        } else {
            members.append(.init("copied_from", .string(source.name)))
        }
        return .object(members)
    }
}

extension ExportPlan.Item {
    fileprivate func planJSON(in file: String) -> JSONValue {
        .object(
            [
                .init("name", .string(tensor.name.string)), .init("dtype", .string(tensor.dtype.name)),
            ] + (encoding.map { [.init("encoding", .string($0))] } ?? []) + [
                .init("shape", .array(tensor.shape.map { .integer($0) })), .init("file", .string(file)),
                .init("offset", .integer(offset)), .init("nbytes", .integer(tensor.byteCount)),
                .init("from", tensor.source.planJSON),
            ])
    }
}

extension PlanItem {
    fileprivate var json: JSONValue {
        .object([
            .init("file", .string(path)), .init("offset", .integer(range.lowerBound)),
            .init("nbytes", .integer(range.count)),
        ])
    }
}
