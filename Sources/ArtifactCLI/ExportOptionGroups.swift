internal import ArgumentParser
internal import Conversion
internal import SafeTensors
internal import Synchronization
internal import TensorCore

/// Where an export goes.
struct DestinationOptions: ParsableArguments {
    @Option(name: .shortAndLong, help: "The directory to make.", completion: .directory)
    var output: String

    @OptionGroup var writing: WriteOptions

    func validate() throws {
        guard !output.isEmpty else { throw ValidationError("--output takes the name of a directory") }
    }
}

/// Whether and over what an export writes.
struct WriteOptions: ParsableArguments {
    @Flag(help: "Replace what stands at the destination; what artifact did not make is moved aside.")
    var force = false

    @Flag(help: "Say what would be written and write nothing.")
    var dryRun = false
}

/// How a source is read.
struct SourceOptions: ParsableArguments {
    @Option(help: ArgumentHelp("The key of the nested dictionary that holds the weights.", valueName: "key"))
    var root: String?
}

/// How tensors are divided among files and lie in them.
struct LayoutOptions: ParsableArguments {
    enum Layout: String, ExpressibleByArgument, CaseIterable { case hub, balanced, aligned }

    @Option(
        help: ArgumentHelp(
            "The most bytes of tensors in a file, such as 5GB (decimal) or 5GiB (binary).", valueName: "size")
    )
    var maxShardSize = "5GB"

    @Option(
        help: """
            How tensors are divided and lie: as the hub library does it, in files of nearly one size, or each at \
            a large power of two.
            """)
    var layout: Layout = .hub

    @Option(
        help: ArgumentHelp(
            "The multiple at which the data of an aligned file begins (default: 4096).", valueName: "bytes"))
    var align: UInt64?

    /// The layout with its alignment.
    var exportLayout: ExportLayout {
        switch layout {
        case .hub: .hub
        case .balanced: .balanced
        case .aligned: .aligned(align ?? 4096)
        }
    }

    /// The limit in bytes.
    var maxShardByteCount: UInt64 { ByteSize.parse(maxShardSize) ?? 5_000_000_000 }

    func validate() throws {
        guard ByteSize.parse(maxShardSize) != nil else {
            throw ValidationError(
                "--max-shard-size takes a size such as 5GB, 500MB or 5GiB, not \(maxShardSize)")
        }
        if let align {
            guard layout == .aligned else { throw ValidationError("--align goes with --layout aligned") }
            let range = SafeTensorsLayout.minimumAlignment...SafeTensorsLayout.maximumAlignment
            guard align.nonzeroBitCount == 1, range.contains(align) else {
                throw ValidationError(
                    "--align takes a power of two from \(range.lowerBound) to \(range.upperBound), not \(align)"
                )
            }
        }
    }
}

/// The text of an option with its place among the others: the parser keeps no order between options, but it reads
/// their values in the order of the command line.
struct OrderedText: ExpressibleByArgument, Sendable {
    let text: String
    let number: Int

    private static let count = Atomic<Int>(0)

    init(argument: String) {
        text = argument
        number = Self.count.wrappingAdd(1, ordering: .relaxed).newValue
    }
}

/// What becomes of dtypes.
struct CastOptions: ParsableArguments {
    enum OverflowOption: String, ExpressibleByArgument, CaseIterable { case special, saturate }

    @Option(
        help: ArgumentHelp(
            """
            Convert floating tensors (F64, F32, F16, BF16) to this dtype, or with GLOB=DTYPE the tensors of \
            these names, rounding to nearest even. May be repeated; the last that fits a tensor counts.
            """, valueName: "[glob=]dtype"))
    var dtype: [OrderedText] = []

    @Option(
        help: """
            What numbers too large for the new dtype become: infinity (NaN where the dtype has none), or the \
            largest number.
            """)
    var overflow: OverflowOption = .special

    /// The casts, each with its place on the command line.
    func casts() throws -> [(number: Int, transform: Transform)] {
        try transforms("dtype", dtype) { (text) throws(PatternError) in
            try .cast(parsing: text, overflow: overflow == .saturate ? .saturate : .special)
        }
    }

    func validate() throws { _ = try casts() }
}

/// What becomes of names, and which tensors are written.
struct NameOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Change names as sed -E does, such as 's/^model\\.//'. May be repeated.", valueName: "s/…/…/"))
    var rename: [OrderedText] = []

    @Option(
        help: ArgumentHelp(
            "Keep only the tensors of these names. Several in a row keep what any of them matches.",
            valueName: "glob"))
    var select: [OrderedText] = []

    @Option(help: ArgumentHelp("Leave out the tensors of these names. May be repeated.", valueName: "glob"))
    var drop: [OrderedText] = []

    @Option(
        help: ArgumentHelp(
            """
            Leave out names that share their storage with another, whatever the config says: all, or with \
            --tie=GLOB these.
            """, valueName: "glob"))
    var tie: [OrderedText] = []

    @Option(
        help: ArgumentHelp(
            "Give names that share a storage bytes of their own: all, or with --untie=GLOB these.",
            valueName: "glob"))
    var untie: [OrderedText] = []

    @Flag(help: "Only warn where a pattern matches no tensor.")
    var allowUnmatched = false

    /// The changes, each with its place on the command line.
    func changes() throws -> [(number: Int, transform: Transform)] {
        try transforms("rename", rename) { (text) throws(PatternError) in try .rename(parsing: text) }
            + transforms("select", select) { (text) throws(PatternError) in try .select(parsing: text) }
            + transforms("drop", drop) { (text) throws(PatternError) in try .drop(parsing: text) }
            + transforms("tie", tie) { (text) throws(PatternError) in try .tie(parsing: text) }
            + transforms("untie", untie) { (text) throws(PatternError) in try .untie(parsing: text) }
    }

    func validate() throws { _ = try changes() }

    /// The options that need no value.
    static let withoutValue = ["tie", "untie"]

    /// `--tie` and `--untie` alone mean every name; a value comes behind `=`, as for optional values elsewhere,
    /// so that the argument after them is never taken for one.
    static func completing(_ arguments: [String]) -> [String] {
        let end = arguments.firstIndex(of: "--") ?? arguments.endIndex
        return arguments.enumerated().map { place, argument in
            place < end && withoutValue.contains { argument == "--" + $0 } ? argument + "=*" : argument
        }
    }
}

private func transforms(
    _ option: String, _ values: [OrderedText], _ parse: (String) throws(PatternError) -> Transform
) throws -> [(number: Int, transform: Transform)] {
    try values.map { value in
        do { return (value.number, try parse(value.text)) } catch let error as PatternError {
            throw ValidationError("--\(option) \(error.description)")
        }
    }
}

extension [(number: Int, transform: Transform)] {
    /// The transforms in the order of the command line, selections in a row as one.
    var inOrder: [Transform] {
        var result: [Transform] = []
        for (_, transform) in sorted(by: { $0.number < $1.number }) {
            if let joined = result.last?.joined(with: transform) {
                result[result.count - 1] = joined
            } else {
                result.append(transform)
            }
        }
        return result
    }
}
