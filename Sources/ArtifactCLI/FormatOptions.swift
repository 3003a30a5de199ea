internal import ArgumentParser
internal import Conversion

/// The format that an export writes.
struct FormatOptions: ParsableArguments {
    /// A format by its name.
    struct Name: ExpressibleByArgument {
        let format: any OutputFormat

        init?(argument: String) {
            guard let format = OutputFormats.named(argument) else { return nil }
            self.format = format
        }

        var defaultValueDescription: String { format.name }
        static var allValueStrings: [String] { OutputFormats.all.map(\.name) }
    }

    @Option(help: ArgumentHelp("The format to write (default: safetensors).", valueName: "format"))
    var to: Name?

    @Option(
        help: ArgumentHelp(
            """
            Quantise the weights of a GGUF file, by the rules of llama.cpp: \
            \(GGUFQuantization.all.map(\.name).joined(separator: ", ")).
            """, valueName: "type"))
    var quantize: String?

    /// What was chosen.
    var output: any OutputFormat {
        if let quantize { return GGUFOutput(.named(quantize)) }
        return to?.format ?? OutputFormats.all[0]
    }

    /// Whether nothing was said.
    var isDefault: Bool { to == nil && quantize == nil }

    /// The options as arguments.
    var arguments: [String] { ["--to=\(output.name)"] + (quantize.map { ["--quantize=\($0)"] } ?? []) }

    func validate() throws {
        guard let quantize else { return }
        guard to?.format is GGUFOutput else { throw ValidationError("--quantize goes with --to gguf") }
        guard GGUFQuantization.named(quantize) != nil else {
            throw ValidationError(
                "--quantize takes \(GGUFQuantization.all.map(\.name).joined(separator: ", ")), not \(quantize)"
            )
        }
    }
}
