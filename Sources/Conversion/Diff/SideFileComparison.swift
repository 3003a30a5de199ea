internal import CheckpointFormats
internal import Checkpoints
internal import StrictJSON
internal import TensorCore

/// Compares the files beside the weights of two models.
enum SideFileComparison {
    private static let jsonLimit: UInt64 = 16 << 20
    private static let entryLimit = 1000

    /// The files that are not the same, in name order.
    static func differences(
        _ a: OpenedModel, _ b: OpenedModel
    ) throws(ConversionError) -> [SideFileDifference] {
        let (left, right) = (byName(a), byName(b))
        let names = Set(left.keys).union(right.keys).sorted {
            $0.bytes.lexicographicallyPrecedes($1.bytes)
        }
        var result: [SideFileDifference] = []
        for key in names {
            let name = String(decoding: key.bytes, as: UTF8.self)
            guard let one = left[key], let other = right[key] else {
                let change: SideFileDifference.Change = left[key] == nil ? .onlyInB : .onlyInA
                result.append(SideFileDifference(name: name, change: change, entries: nil))
                continue
            }
            let (x, y) = (try source(of: one, in: a), try source(of: other, in: b))
            if try inputOutput({ () throws(IOError) in try areEqual(x, y) }) { continue }
            let entries = try inputOutput { () throws(IOError) in try jsonEntries(x, y) }
            result.append(SideFileDifference(name: name, change: .contents, entries: entries))
        }
        return result
    }

    private static func byName(_ model: OpenedModel) -> [ByteKey: OpenedModel.Side] {
        Dictionary(
            model.sideFiles.map { (ByteKey($0.file.name), $0) }, uniquingKeysWith: { first, _ in first })
    }

    private static func source(
        of side: OpenedModel.Side, in model: OpenedModel
    ) throws(ConversionError) -> any ByteSource {
        if let embedded = side.embedded { return embedded }
        let path = Path.join(model.directory?.path ?? "", side.file.name)
        return try inputOutput { () throws(IOError) in try InputFile(path: path) }
    }

    private static func areEqual(_ a: any ByteSource, _ b: any ByteSource) throws(IOError) -> Bool {
        guard a.byteCount == b.byteCount else { return false }
        let step: UInt64 = 1 << 20
        for start in stride(from: UInt64(0), to: a.byteCount, by: UInt64.Stride(step)) {
            let count = Int(min(step, a.byteCount - start))
            guard try a.bytes(at: start, count: count) == b.bytes(at: start, count: count) else {
                return false
            }
        }
        return true
    }

    /// What is not the same in two JSON documents; nil where they are no such, or large.
    private static func jsonEntries(
        _ a: any ByteSource, _ b: any ByteSource
    ) throws(IOError) -> [SideFileDifference.Entry]? {
        guard max(a.byteCount, b.byteCount) <= jsonLimit else { return nil }
        let (x, y) = (
            try a.bytes(at: 0, count: Int(a.byteCount)), try b.bytes(at: 0, count: Int(b.byteCount))
        )
        guard let one = try? JSONValue(parsing: x), let other = try? JSONValue(parsing: y) else { return nil }
        var entries: [SideFileDifference.Entry] = []
        compare(one, other, path: "", into: &entries)
        return entries
    }

    /// Objects are compared member by member, arrays as wholes.
    private static func compare(
        _ a: JSONValue?, _ b: JSONValue?, path: String, into entries: inout [SideFileDifference.Entry]
    ) {
        guard entries.count < entryLimit else { return }
        if let left = a?.members, let right = b?.members {
            var known: Set<ByteKey> = []
            for member in left + right where known.insert(ByteKey(member.key)).inserted {
                let inner = path.isEmpty ? member.key : path + "." + member.key
                compare(a?[member.key], b?[member.key], path: inner, into: &entries)
            }
            return
        }
        let (x, y) = (a?.serialized(sortKeys: true), b?.serialized(sortKeys: true))
        if x == y { return }
        entries.append(
            SideFileDifference.Entry(
                path: path, a: x.map { String(decoding: $0, as: UTF8.self) },
                b: y.map { String(decoding: $0, as: UTF8.self) }))
    }
}
