import FuzzEntries
import Glibc
import SafeTensors

/// `differential ROOT SEED COUNT`: writes COUNT mutated files with our verdict on each to standard output, for
/// differential.py to judge.
///
/// A record is the length of the file, the file, the length of what we say, and what we say.
@main struct Differential {
    let corpus: [[UInt8]]
    var random: SeededRandom
    var generator: HeaderGenerator
    var output: [UInt8] = []

    static func main() throws {
        guard CommandLine.arguments.count == 4, let seed = UInt64(CommandLine.arguments[2]),
            let count = Int(CommandLine.arguments[3])
        else { fatalError("differential ROOT SEED COUNT") }
        var run = Differential(
            corpus: try Corpus.files(for: .header, root: CommandLine.arguments[1]),
            random: SeededRandom(seed: seed), generator: HeaderGenerator(seed: seed))
        for _ in 0..<count {
            let bytes = run.nextFile()
            run.append(bytes)
            run.append(description(of: bytes))
            if run.output.count > 1 << 20 { run.flush() }
        }
        run.flush()
    }

    /// A file that is made up, made up and changed, or a case that is changed.
    mutating func nextFile() -> [UInt8] {
        let choice = random.below(20)
        var bytes = choice < 12 ? generator.next() : random.pick(corpus)
        if choice < 9 { return bytes }
        Mutator.mutate(&bytes, fixed: 8, &random)
        if !random.oneIn(6) { Mutator.mendHeaderLength(&bytes) }
        return bytes
    }

    /// Our strict code and the reference's variant; for accepted files also the tensors with dtype, shape, place.
    static func description(of bytes: [UInt8]) -> [UInt8] {
        let source = MemorySource(name: "input", contents: bytes)
        var strict = "OK"
        do throws(SafeTensorsError) { _ = try SafeTensorsHeader(reading: source) } catch {
            strict = error.code.rawValue
        }
        do throws(SafeTensorsError) {
            let header = try SafeTensorsHeader(reading: source, mode: .reference)
            var text = Array("\(strict)\tOK\t".utf8)
            for tensor in header {
                text += tensor.name.utf8 + [0xFF]
                let place = "\(tensor.fileRange.lowerBound) \(tensor.byteCount)"
                text += "\(tensor.dtype.name) \(tensor.shape) \(place)".utf8 + [0xFF]
            }
            return text
        } catch {
            return Array("\(strict)\t\(error.referenceName ?? "-")\t".utf8)
        }
    }

    private mutating func append(_ bytes: [UInt8]) {
        for shift in stride(from: 0, to: 32, by: 8) {
            output.append(UInt8(truncatingIfNeeded: bytes.count >> shift))
        }
        output += bytes
    }

    private mutating func flush() {
        var done = 0
        while done < output.count {
            let written = output.withUnsafeBytes { write(1, $0.baseAddress! + done, output.count - done) }
            guard written > 0 else { exit(1) }
            done += written
        }
        output.removeAll(keepingCapacity: true)
    }
}
