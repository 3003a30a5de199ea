internal import ArgumentParser
internal import CheckpointFormats
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

/// How much of the machine an export takes, and what it computes on the way.
struct EngineOptions: ParsableArguments {
    @OptionGroup var jobs: JobOptions
    @OptionGroup var progress: ProgressOptions

    @Option(
        help: ArgumentHelp(
            "The memory that pieces of tensors may take, such as 512MB or 2GiB.", valueName: "size"))
    var memory = "512MB"

    @Option(
        help: ArgumentHelp(
            """
            The SHA-256 digests to take: all, or of source files, written files and tensors. Without one the \
            system copies what stays as it is.
            """, valueName: "all|none|source,files,tensors"))
    var digests = "all"

    @Flag(help: "Begin anew, whatever an interrupted run has left.")
    var noResume = false

    func validate() throws {
        guard let bytes = ByteSize.parse(memory), bytes >= 1 << 20 else {
            throw ValidationError(
                "--memory takes a size of at least 1MiB, such as 512MB or 2GiB, not \(memory)")
        }
        guard DigestChoice(names: digests) != nil else {
            throw ValidationError(
                "--digests takes all, none, or some of source,files,tensors, not \(digests)")
        }
    }

    /// The exporter that these options describe.
    func exporter(progress: Progress) -> Exporter {
        var exporter = Exporter(
            tool: Version.tool, jobs: jobs.jobs, memory: Int(clamping: ByteSize.parse(memory) ?? 512_000_000),
            digests: DigestChoice(names: digests) ?? .all, progress: { progress.advance($0) },
            isCancelled: isInterrupted)
        exporter.resuming = !noResume
        exporter.counters = progress.counters
        exporter.willWork = { progress.expect($0, done: $1) }
        return exporter
    }
}

/// How a source is read.
struct SourceOptions: ParsableArguments {
    enum PrecisionOption: String, ExpressibleByArgument, CaseIterable { case master, model }

    @Option(help: ArgumentHelp("The key of the nested dictionary that holds the weights.", valueName: "key"))
    var root: String?

    @Flag(
        help: """
            Take pickled objects of unknown classes as records of their attributes, to read whole modules. \
            Nothing is run either way.
            """)
    var allowOpaque = false

    @Flag(help: "Leave out tensors that cannot be represented, and list them, rather than stop.")
    var skipUnsupported = false

    @Option(
        help: ArgumentHelp(
            "What NumPy arrays of void elements hold, whose dtype NumPy lost: bf16 for V2, f8_e4m3 for V1.",
            valueName: "dtype"))
    var voidAs: String?

    @Option(
        help: """
            Which copy of the weights is taken where a trainer keeps two: the optimizer's master weights or the \
            model's own.
            """)
    var precision: PrecisionOption?

    @Option(
        help: ArgumentHelp(
            """
            What tensors are called: keep for the names of the source, hf for those of transformers, or another \
            scheme, such as gguf, meta, torchtune, megatron, mlx or flax. Needs the model's config.json.
            """, valueName: "scheme"))
    var names: String?

    /// The options of the readers.
    var readOptions: ReadOptions {
        var options = ReadOptions(root: root)
        options.allowsOpaque = allowOpaque
        options.skipsUnsupported = skipUnsupported
        options.voidDType = voidAs.flatMap { DType(name: $0.uppercased()) }
        options.precision = precision.flatMap { .init(rawValue: $0.rawValue) }
        options.names = names.map { $0 == "keep" ? .stored : .scheme($0) }
        return options
    }

    /// Whether nothing was said.
    var isDefault: Bool { arguments.isEmpty }

    /// The options as arguments.
    var arguments: [String] {
        var result: [String] = []
        if let root { result.append("--root=\(root)") }
        if allowOpaque { result.append("--allow-opaque") }
        if skipUnsupported { result.append("--skip-unsupported") }
        if let voidAs { result.append("--void-as=\(voidAs)") }
        if let precision { result.append("--precision=\(precision.rawValue)") }
        if let names { result.append("--names=\(names)") }
        return result
    }

    func validate() throws {
        if let voidAs, DType(name: voidAs.uppercased()) == nil {
            throw ValidationError("--void-as takes a dtype such as bf16 or f8_e4m3, not \(voidAs)")
        }
    }
}

/// Adapters that are merged into the weights.
struct MergeOptions: ParsableArguments {
    enum RoundingOption: String, ExpressibleByArgument, CaseIterable {
        case once
        case peftSafe = "peft-safe"
    }

    @Option(
        help: ArgumentHelp(
            """
            Merge a LoRA adapter (a directory of PEFT or mlx-lm) into the weights, computed in F32. May be \
            repeated; each is merged into the result of those before it.
            """, valueName: "adapter"), completion: .directory)
    var merge: [String] = []

    @Option(
        help: """
            When a merged weight is rounded: once, or the update first and then the sum, as PEFT's safe_merge \
            does.
            """)
    var rounding: RoundingOption = .once

    /// Whether nothing was said.
    var isDefault: Bool { merge.isEmpty && rounding == .once }

    /// The options as arguments that mean the same anywhere.
    var arguments: [String] {
        merge.map { "--merge=\(FileSystem.resolved($0) ?? $0)" } + ["--rounding=\(rounding.rawValue)"]
    }

    /// The model with the adapters merged.
    func merged(_ model: OpenedModel) throws(ConversionError) -> OpenedModel {
        var model = model
        for path in merge {
            model = try model.merging(
                Adapter(path: path), rounding: MergeRounding(rawValue: rounding.rawValue) ?? .once)
        }
        return model
    }
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

    /// Whether nothing was said.
    var isDefault: Bool { maxShardSize == "5GB" && layout == .hub && align == nil }

    /// The options as arguments.
    var arguments: [String] {
        ["--max-shard-size=\(maxShardByteCount)", "--layout=\(layout.rawValue)"]
            + (align.map { ["--align=\($0)"] } ?? [])
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
    func casts() throws -> [OrderedTransform] {
        try transforms("dtype", dtype) { (text) throws(PatternError) in
            try .cast(parsing: text, overflow: overflow == .saturate ? .saturate : .special)
        }
    }

    /// The option that the casts need to mean the same again.
    var arguments: [String] { ["--overflow=\(overflow.rawValue)"] }

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

    /// Whether nothing is changed.
    var isEmpty: Bool { [rename, select, drop, tie, untie].allSatisfy(\.isEmpty) }

    /// The changes, each with its place on the command line.
    func changes() throws -> [OrderedTransform] {
        try transforms("rename", rename) { (text) throws(PatternError) in try .rename(parsing: text) }
            + transforms("select", select) { (text) throws(PatternError) in try .select(parsing: text) }
            + transforms("drop", drop) { (text) throws(PatternError) in try .drop(parsing: text) }
            + transforms("tie", tie) { (text) throws(PatternError) in try .tie(parsing: text) }
            + transforms("untie", untie) { (text) throws(PatternError) in try .untie(parsing: text) }
    }

    func validate() throws { _ = try changes() }

    /// The option that the changes need to mean the same again.
    var arguments: [String] { allowUnmatched ? ["--allow-unmatched"] : [] }

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
) throws -> [OrderedTransform] {
    try values.map { value in
        do {
            return OrderedTransform(
                number: value.number, argument: "--\(option)=\(value.text)", transform: try parse(value.text))
        } catch let error as PatternError {
            throw ValidationError("--\(option) \(error.description)")
        }
    }
}

/// A transform with its place on the command line.
struct OrderedTransform {
    let number: Int
    let argument: String
    let transform: Transform
}

extension [OrderedTransform] {
    /// The options as they were given, in order.
    var arguments: [String] { sorted { $0.number < $1.number }.map(\.argument) }

    /// The transforms in the order of the command line, selections in a row as one.
    var inOrder: [Transform] {
        var result: [Transform] = []
        for transform in sorted(by: { $0.number < $1.number }).map(\.transform) {
            if let joined = result.last?.joined(with: transform) {
                result[result.count - 1] = joined
            } else {
                result.append(transform)
            }
        }
        return result
    }
}
