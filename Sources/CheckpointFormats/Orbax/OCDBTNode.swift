internal import Checkpoints
internal import TensorCore

/// The keys of a node, of which each says how much of the one before it repeats.
struct OCDBTKeys {
    private let prefixes: [UInt64]
    private let suffixes: [UInt64]
    /// How much of each key all those below it share; none in leaves.
    let subtrees: [UInt64]
    private var place: Int
    private var index = 0
    private var previous: [UInt8] = []

    init(_ count: Int, _ cursor: inout OCDBTCursor, hasSubtrees: Bool) throws(CheckpointError) {
        prefixes = [0] + (try cursor.varints(count - 1))
        suffixes = try cursor.varints(count)
        subtrees = hasSubtrees ? try cursor.varints(count) : []
        var total: UInt64 = 0
        for length in suffixes {
            let (sum, overflow) = total.addingReportingOverflow(length)
            guard !overflow else {
                throw cursor.place.error("ocdbt-short", "keys are longer than their node")
            }
            total = sum
        }
        place = try cursor.take(total).lowerBound
    }

    /// The next key, relative to the node's own prefix.
    mutating func next(_ cursor: OCDBTCursor) throws(CheckpointError) -> [UInt8] {
        guard prefixes[index] <= UInt64(previous.count) else {
            throw cursor.place.error("ocdbt-key", "a key repeats more of the one before it than that has")
        }
        let end = place + Int(suffixes[index])
        previous.removeSubrange(Int(prefixes[index])...)
        previous += cursor.bytes[place..<end]
        place = end
        index += 1
        guard previous.count <= 1 << 16 else {
            throw cursor.place.error("ocdbt-key", "a key has more than 65536 bytes")
        }
        return previous
    }
}

/// The data files that a node refers to.
struct OCDBTFileTable {
    private let paths: [[UInt8]]
    private let baseCounts: [Int]
    private let place: OCDBTCursor.Place

    /// The most bytes that all paths of a table may have.
    private static let byteLimit = 1 << 20

    /// Reads a table whose paths are relative to `base`.
    init(_ cursor: inout OCDBTCursor, base: [UInt8]) throws(CheckpointError) {
        place = cursor.place
        let malformed = place.error("ocdbt-files", "the table of data files is damaged")
        let stated = try cursor.varint()
        guard stated <= UInt64(cursor.remaining) else { throw malformed }
        let count = Int(stated)
        guard count > 0 else {
            (paths, baseCounts) = ([], [])
            return
        }
        let prefixes = [0] + (try cursor.varints(count - 1))
        let suffixes = try cursor.varints(count)
        let bases = try cursor.varints(count)
        var paths: [[UInt8]] = []
        var counts: [Int] = []
        var total = 0
        var previous: [UInt8] = []
        for index in 0..<count {
            guard prefixes[index] <= UInt64(previous.count) else { throw malformed }
            let path = previous.prefix(Int(prefixes[index])) + cursor.bytes[try cursor.take(suffixes[index])]
            guard bases[index] <= UInt64(path.count) else { throw malformed }
            total += base.count + path.count
            guard total <= Self.byteLimit else { throw malformed }
            paths.append(base + path)
            counts.append(base.count + Int(bases[index]))
            previous = Array(path)
        }
        (self.paths, baseCounts) = (paths, counts)
    }

    /// The path of a file, and what the paths in its nodes are relative to.
    func entry(_ number: UInt64) throws(CheckpointError) -> (path: String, base: [UInt8]) {
        guard number < UInt64(paths.count) else {
            throw place.error("ocdbt-files", "a value is in file \(number) of \(paths.count)")
        }
        let path = paths[Int(number)]
        guard let text = String(validating: path, as: UTF8.self) else {
            throw place.error("ocdbt-files", "the path of a data file is not UTF-8")
        }
        return (text, Array(path.prefix(baseCounts[Int(number)])))
    }
}
