internal import ArgumentParser
internal import CheckpointFormats
internal import Checkpoints
internal import Conversion
internal import TensorCore

struct AdapterCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "adapter",
        abstract: "Inspect, convert or extract LoRA adapters.",
        discussion: """
            An adapter is a directory of PEFT (adapter_config.json and adapter_model.safetensors or .bin) or of \
            mlx-lm (adapters.safetensors). `artifact export BASE --merge ADAPTER` merges one into its base.
            """,
        subcommands: [Inspect.self, Convert.self, Extract.self])
}

extension AdapterCommand {
    struct Inspect: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show what an adapter changes, from its headers.")

        @Argument(help: "The adapter's directory.", completion: .directory)
        var adapter: String

        @OptionGroup var output: OutputOptions

        func run() throws {
            do throws(ConversionError) {
                let report = AdapterReport(try Adapter(path: adapter))
                if output.json {
                    Terminal.print(json: report.json)
                } else if !output.quiet {
                    Terminal.print(report.text(Terminal.outputStyle))
                }
            } catch {
                if output.json { Terminal.print(json: error.json) }
                throw Exit(error)
            }
        }
    }

    struct Convert: ParsableCommand {
        enum Layout: String, ExpressibleByArgument, CaseIterable { case peft, mlx }

        static let configuration = CommandConfiguration(
            abstract: "Write an adapter in the layout of PEFT or mlx-lm.",
            discussion: "What the other layout has no place for is an error; numbers stay as they are.")

        @Argument(help: "The adapter's directory.", completion: .directory)
        var adapter: String

        @Option(help: "The layout to write.")
        var to: Layout

        @OptionGroup var destination: DestinationOptions
        @OptionGroup var engine: EngineOptions
        @OptionGroup var output: OutputOptions

        func run() throws {
            let target: Adapter.Format = to == .peft ? .peft : .mlx
            let model: OpenedModel
            do throws(ConversionError) { model = try Adapter(path: adapter).model(as: target) } catch {
                if output.json { Terminal.print(json: error.json) }
                throw Exit(error)
            }
            var run = ExportRun(
                sources: [adapter], layout: try LayoutOptions.parse([]), destination: destination.output,
                writing: destination.writing, engine: engine, output: output)
            run.made = model
            run.baseName = target.weightsName
            try run.run()
        }
    }

    struct Extract: ParsableCommand {
        enum OthersOption: String, ExpressibleByArgument, CaseIterable { case refuse, save }

        static let configuration = CommandConfiguration(
            abstract: "Make an adapter of what a tuned model has learnt beyond its base.",
            discussion: """
                The difference of each weight of a linear layer is cut to a rank by its singular values; weights \
                that are the same are left out. The report says how much of each difference is missed, as a part \
                of its length, and how much of all of it is kept, as a part of the sum of squares.
                """)

        @Argument(help: "The base: a file or a directory.", completion: .file())
        var base: String

        @Argument(help: "The tuned model: a file or a directory.", completion: .file())
        var tuned: String

        @Option(help: ArgumentHelp("The rank of every update, or auto.", valueName: "number|auto"))
        var rank: String

        @Option(
            help: ArgumentHelp(
                "With --rank auto: the part of each difference's sum of squares to keep.", valueName: "part"))
        var energy = 0.99

        @Option(help: ArgumentHelp("With --rank auto: the largest rank.", valueName: "number"))
        var maxRank = 256

        @Option(
            help: ArgumentHelp(
                "Make updates of the weights of these names only. May be repeated.", valueName: "glob"))
        var modules: [String] = []

        @Option(
            help: """
                What becomes of differences in norms, biases, embeddings and whatever --modules leaves out: an \
                error that lists them, or kept as a whole.
                """)
        var others: OthersOption = .refuse

        @OptionGroup var destination: DestinationOptions
        @OptionGroup var reading: SourceOptions
        @OptionGroup var engine: EngineOptions
        @OptionGroup var output: OutputOptions

        func validate() throws {
            guard rank == "auto" || (Int(rank).map { (1...1 << 16).contains($0) } ?? false) else {
                throw ValidationError("--rank takes a number from 1 to 65536, or auto, not \(rank)")
            }
            guard energy > 0, energy <= 1, (1...1 << 16).contains(maxRank) else {
                throw ValidationError("--energy takes a part such as 0.99, --max-rank a number up to 65536")
            }
            _ = try globs()
        }

        private func globs() throws -> [Glob]? {
            guard !modules.isEmpty else { return nil }
            return try modules.map { text in
                do { return try Glob(parsing: text) } catch {
                    throw ValidationError("--modules \(error)")
                }
            }
        }

        func run() throws {
            let globs = try globs()
            let progress = engine.progress.start("extracting", output)
            defer { progress.finish() }
            let model: OpenedModel
            let outcomes: [AdapterExtraction.Outcome]
            do throws(ConversionError) {
                let (first, second) = (try open(base), try open(tuned))
                var extraction = AdapterExtraction(
                    rank: Int(rank).map { .fixed($0) } ?? .energy(energy, atMost: maxRank), modules: globs,
                    others: others == .save ? .save : .refuse, jobs: engine.jobs.jobs)
                extraction.isCancelled = isInterrupted
                extraction.progress = { progress.advance($0) }
                progress.expect(
                    (first.checkpoint.tensors.map(\.byteCount) + second.checkpoint.tensors.map(\.byteCount))
                        .reduce(0, &+))
                (model, outcomes) = try extraction.extract(second, from: first)
            } catch {
                if output.json { Terminal.print(json: error.json) }
                throw Exit(error)
            }
            progress.finish(isComplete: true)
            var run = ExportRun(
                sources: [base, tuned], layout: try LayoutOptions.parse([]), destination: destination.output,
                writing: destination.writing, engine: engine, output: output)
            run.made = model
            run.baseName = Adapter.Format.peft.weightsName
            try run.run()
            guard !output.json, !output.quiet else { return }
            Terminal.print(AdapterReport.table(outcomes, Terminal.outputStyle))
        }

        private func open(_ path: String) throws(ConversionError) -> OpenedModel {
            do { return try FormatRegistry.open(path: path, options: reading.readOptions) } catch {
                throw .source(error)
            }
        }
    }
}

extension Adapter.Format {
    /// What the weights file is called, but for its extension.
    fileprivate var weightsName: String { self == .peft ? "adapter_model" : "adapters" }
}
