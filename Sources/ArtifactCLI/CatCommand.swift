internal import ArgumentParser
internal import CheckpointFormats
internal import Checkpoints
internal import Conversion
internal import TensorCore

struct Cat: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Join checkpoints into one, or write the bytes of a tensor.",
        discussion: """
            With --output the tensors of all sources become one model directory, by an export: weights files, \
            shards and directories of any format, in the order given. Two tensors of one name are an error that \
            names both sources. Config, tokenizer and the like come from the first source that has any.

            With --tensor the contiguous little-endian bytes of that tensor go to standard output, after --dtype \
            if it is given; nothing else is written.
            """)

    @Argument(help: "The checkpoints: files or directories.", completion: .file())
    var sources: [String]

    @Option(name: .shortAndLong, help: "The directory to make.", completion: .directory)
    var output: String?

    @Option(help: ArgumentHelp("Write this tensor's bytes to standard output.", valueName: "name"))
    var tensor: String?

    @OptionGroup var writing: WriteOptions
    @OptionGroup var cast: CastOptions
    @OptionGroup var layout: LayoutOptions
    @OptionGroup var reading: SourceOptions
    @OptionGroup var engine: EngineOptions
    @OptionGroup var reports: OutputOptions

    func validate() throws {
        guard (output == nil) != (tensor == nil) else {
            throw ValidationError("cat takes --output DIRECTORY to join, or --tensor NAME to write its bytes")
        }
        guard output?.isEmpty != true else { throw ValidationError("--output takes the name of a directory") }
    }

    func run() throws {
        let run = ExportRun(
            sources: sources, reading: reading.readOptions, transforms: try cast.casts().inOrder,
            layout: layout,
            destination: output ?? "", writing: writing, engine: engine, output: reports)
        guard let tensor else { return try run.run() }
        guard !Terminal.outputStyle.isTerminal else {
            throw Exit(
                code: 2, message: "the bytes of a tensor are nothing for a terminal: send them to a file")
        }
        do {
            let selection = Transform.select([Glob(exactly: tensor)])
            let checkpoint = try run.open().checkpoint.applying([selection] + run.transforms)
            for record in checkpoint.tensors { try write(record) }
        } catch {
            throw Exit(error)
        }
    }

    /// Writes a tensor in pieces that split no element of any dtype.
    private func write(_ record: TensorRecord) throws(ConversionError) {
        let step: UInt64 = 3 << 20
        var offset: UInt64 = 0
        while offset < record.byteCount {
            let count = min(step, record.byteCount - offset)
            do throws(IOError) {
                let bytes = try [UInt8](count: Int(count)) { (span) throws(IOError) in
                    try record.source.read(at: offset, into: &span)
                }
                Terminal.write(bytes, to: 1)
            } catch {
                throw ConversionError.io(error)
            }
            offset += count
        }
    }
}
