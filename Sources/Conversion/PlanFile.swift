internal import Checkpoints
internal import Integrity
internal import StrictJSON
internal import TensorCore

/// A plan that was written to a file: the arguments that lead to it, and what must come of them.
///
/// A plan is carried out by planning again and comparing: that takes a look at headers only, and nothing in the
/// file has to be trusted.
public struct PlanFile: Sendable {
    /// The arguments of `artifact export` that lead to the plan.
    public let arguments: [String]
    private let path: String
    private let tool: String
    private let digest: String
    private let sources: [(location: String, byteCount: UInt64, modified: UInt64?)]

    /// Far more than the plan of the largest model has.
    private static let byteCountLimit = 1 << 30

    /// Reads a plan.
    public init(reading path: String) throws(ConversionError) {
        let bytes = try inputOutput { () throws(IOError) in
            try FileSystem.contents(of: path, limit: Self.byteCountLimit)
        }
        let value: JSONValue
        do { value = try JSONValue(parsing: bytes) } catch {
            throw Self.unreadable(path, error.message, offset: UInt64(error.offset))
        }
        guard value["schema"]?.string == ExportPlan.schema, case .array(let arguments)? = value["arguments"],
            let digest = value["digest"]?.string, case .array(let files)? = value["source_files"]
        else { throw Self.unreadable(path, "it is no plan of schema \(ExportPlan.schema)") }
        self.arguments = arguments.compactMap(\.string)
        guard self.arguments.count == arguments.count, let source = self.arguments.first,
            source.utf8.first != 0x2D
        else { throw Self.unreadable(path, "its arguments do not begin with a source") }
        self.path = path
        self.digest = digest
        tool = value["tool"]?["version"]?.string ?? "unknown"
        sources = files.compactMap { file in
            guard let location = file["location"]?.string, let size = file["size"]?.uint64 else { return nil }
            return (location, size, file["mtime_ns"]?.uint64)
        }
    }

    private static func unreadable(_ path: String, _ message: String, offset: UInt64? = nil)
        -> ConversionError
    {
        .source(CheckpointError(.malformed, "bad-plan", message, file: path, offset: offset))
    }

    /// Throws where `plan` is not the one that was written, and says what has changed.
    public func check(_ plan: ExportPlan) throws(ConversionError) {
        guard plan.digest.hex != digest else { return }
        throw .source(
            CheckpointError(.malformed, "plan-outdated", "\(difference(plan)): plan again", file: path))
    }

    private func difference(_ plan: ExportPlan) -> String {
        for file in plan.checkpoint.files {
            let name = escapedForDisplay(file.source.name)
            guard
                let planned = sources.first(where: { $0.location.utf8.elementsEqual(file.source.name.utf8) })
            else { return "\(name) is not in it" }
            if planned.byteCount != file.source.byteCount {
                return "\(name) had \(planned.byteCount) bytes and has \(file.source.byteCount)"
            }
            let modified = file.input.map { UInt64(clamping: $0.identity.modifiedNanosecondsTotal) }
            if planned.modified != modified { return "\(name) was changed since" }
        }
        return
            "it was made by version \(escapedForDisplay(tool)), or what stands beside the weights has changed"
    }
}

extension ExportPlan {
    /// Writes the plan to a file, which appears in one step.
    ///
    /// - Parameters: as for ``write(arguments:tool:to:)``, and whether a file that stands there is replaced.
    public func write(
        arguments: [String], tool: (name: String, version: String), to path: String, replacing: Bool
    ) throws(ConversionError) {
        let isThere = try inputOutput { () throws(IOError) in
            try FileSystem.kind(of: path, followingLinks: false) != nil
        }
        guard replacing || !isThere else {
            throw .destination(
                "\(escapedForDisplay(path)) exists: choose another name, or replace it with --force")
        }
        do throws(IOError) {
            var file = try ReplacementFile(for: path)
            let output = file.output
            var failure: IOError?
            var offset: UInt64 = 0
            write(arguments: arguments, tool: tool) { bytes in
                guard failure == nil else { return }
                do throws(IOError) { try output.write(bytes.span.bytesView, at: offset) } catch {
                    failure = error
                }
                offset += UInt64(bytes.count)
            }
            if let failure { throw failure }
            try file.commit(replacing: replacing)
        } catch {
            throw .io(error)
        }
    }
}
