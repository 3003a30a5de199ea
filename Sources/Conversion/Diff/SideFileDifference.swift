internal import CheckpointFormats
internal import Checkpoints
public import StrictJSON
internal import TensorCore

/// A file beside the weights that is not the same in both models.
public struct SideFileDifference: Sendable {
    /// What kind of difference it is.
    public enum Change: String, Sendable {
        case onlyInFirst = "only-in-first"
        case onlyInSecond = "only-in-second"
        case contents
    }

    /// A value of a JSON file that is not the same.
    public struct Value: Sendable {
        /// The keys that lead to it, joined by dots; empty for the whole document.
        public var path: String
        /// The value in the first file, nil where it has none.
        public var first: JSONValue?
        /// The value in the second file, nil where it has none.
        public var second: JSONValue?
    }

    /// The name.
    public var name: String
    /// What differs.
    public var change: Change
    /// The values that differ, of JSON files that are not too large; the first ``valueLimit`` of them.
    public var values: [Value] = []

    /// The most values that are listed.
    public static var valueLimit: Int { 100 }
}

extension CheckpointDiff {
    /// The largest JSON file whose values are compared.
    private static var jsonLimit: UInt64 { 4 << 20 }

    /// Compares the files beside the weights, where both models have any.
    mutating func compareFiles(_ first: OpenedModel, _ second: OpenedModel) throws(ConversionError) {
        let (a, b) = (first.sideFiles, second.sideFiles)
        guard !a.isEmpty || first.directory != nil, !b.isEmpty || second.directory != nil else { return }
        for side in a {
            guard let other = b.first(where: { $0.file.name.utf8.elementsEqual(side.file.name.utf8) }) else {
                files.append(SideFileDifference(name: side.file.name, change: .onlyInFirst))
                continue
            }
            do throws(IOError) {
                let one = try Self.source(side, first)
                let two = try Self.source(other, second)
                if let difference = try Self.difference(side.file.name, one, two) {
                    files.append(difference)
                } else {
                    sameFileCount += 1
                }
            } catch {
                throw .source(CheckpointError(error))
            }
        }
        for side in b where !a.contains(where: { $0.file.name.utf8.elementsEqual(side.file.name.utf8) }) {
            files.append(SideFileDifference(name: side.file.name, change: .onlyInSecond))
        }
    }

    private static func source(
        _ side: OpenedModel.Side, _ model: OpenedModel
    ) throws(IOError) -> any ByteSource {
        if let embedded = side.embedded { return embedded }
        return try InputFile(path: Path.join(model.directory?.path ?? "", side.file.name))
    }

    private static func difference(
        _ name: String, _ first: any ByteSource, _ second: any ByteSource
    ) throws(IOError) -> SideFileDifference? {
        if try areSame(first, second) { return nil }
        var result = SideFileDifference(name: name, change: .contents)
        guard name.hasSuffix(".json"), first.byteCount <= jsonLimit, second.byteCount <= jsonLimit else {
            return result
        }
        let one = try first.bytes(at: 0, count: Int(first.byteCount))
        let two = try second.bytes(at: 0, count: Int(second.byteCount))
        guard let a = try? JSONValue(parsing: one), let b = try? JSONValue(parsing: two) else {
            return result
        }
        compare(a, b, path: "", into: &result.values)
        // The same values in another layout.
        return result.values.isEmpty ? nil : result
    }

    private static func areSame(
        _ first: any ByteSource, _ second: any ByteSource
    ) throws(IOError) -> Bool {
        guard first.byteCount == second.byteCount else { return false }
        var position: UInt64 = 0
        while position < first.byteCount {
            let count = Int(min(1 << 20, first.byteCount - position))
            guard try first.bytes(at: position, count: count) == second.bytes(at: position, count: count)
            else {
                return false
            }
            position += UInt64(count)
        }
        return true
    }

    private static func compare(
        _ a: JSONValue, _ b: JSONValue, path: String, into values: inout [SideFileDifference.Value]
    ) {
        guard values.count < SideFileDifference.valueLimit else { return }
        if let first = a.members, let second = b.members {
            let keys = Dictionary(second.map { (ByteKey($0.key), $0.value) }) { old, _ in old }
            let own = Set(first.map { ByteKey($0.key) })
            func below(_ key: String) -> String { path.isEmpty ? key : path + "." + key }
            for member in first {
                if let other = keys[ByteKey(member.key)] {
                    compare(member.value, other, path: below(member.key), into: &values)
                } else {
                    values.append(.init(path: below(member.key), first: member.value))
                }
            }
            for member in second where !own.contains(ByteKey(member.key)) {
                values.append(.init(path: below(member.key), second: member.value))
            }
        } else if !isSame(a, b) {
            values.append(.init(path: path, first: a, second: b))
        }
    }

    /// Whether two values are the same, whatever the order of keys and the spelling of numbers.
    private static func isSame(_ a: JSONValue, _ b: JSONValue) -> Bool {
        switch (a, b) {
        case (.number(let one), .number(let two)):
            let areWhole = a.int64 != nil && b.int64 != nil
            return one.utf8.elementsEqual(two.utf8) || !areWhole && a.double == b.double
        case (.array(let one), .array(let two)):
            return one.count == two.count && zip(one, two).allSatisfy { isSame($0, $1) }
        case (.object, .object):
            var values: [SideFileDifference.Value] = []
            compare(a, b, path: "", into: &values)
            return values.isEmpty
        default: return a.serialized() == b.serialized()
        }
    }
}
