import SafeTensors
import TensorCore
import Testing

/// Inputs that nobody wrote: whatever they are, both modes give a verdict, strict mode accepts no more than
/// reference mode, and what is accepted lies within the file.
@Suite struct FuzzTests {
    private func check(_ bytes: [UInt8], _ comment: @autoclosure () -> String) {
        let source = MemorySource(name: "fuzz", contents: bytes)
        let strict = try? SafeTensorsHeader(reading: source)
        let reference = try? SafeTensorsHeader(reading: source, mode: .reference)
        if strict != nil, reference == nil { Issue.record("strict accepts more: \(comment())") }
        guard let header = reference else { return }
        var dataEnd: UInt64 = 0
        for (position, tensor) in header.enumerated() {
            if header.index(of: tensor.name) != position { Issue.record("name is lost: \(comment())") }
            if tensor.dtype.byteCount(of: tensor.shape) != tensor.byteCount {
                Issue.record("size is wrong: \(comment())")
            }
            dataEnd = max(dataEnd, tensor.fileRange.upperBound)
        }
        if !header.isEmpty, dataEnd != UInt64(bytes.count) { Issue.record("data end is wrong: \(comment())") }
        _ = header.metadata.count
        _ = header.offsetOrder.count
    }

    @Test(arguments: ConformanceCase.all.filter { $0.bytes.count < 1000 })
    func `every truncation gets a verdict`(_ item: ConformanceCase) {
        for count in 0..<item.bytes.count {
            check(Array(item.bytes[..<count]), "\(item.id) cut to \(count)")
            guard count >= 8 else { continue }
            // The same with a header length that fits what is left.
            check(
                fileBytes(header: Array(item.bytes[8..<count])), "\(item.id) cut to \(count), length mended")
        }
    }

    @Test(arguments: 0..<20 as Range<UInt64>)
    func `mutated files get a verdict`(_ seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let cases = ConformanceCase.all.filter { $0.bytes.count < 1000 }
        for round in 0..<500 {
            var bytes = cases[Int.random(in: cases.indices, using: &random)].bytes
            for _ in 0..<Int.random(in: 1...4, using: &random) { mutate(&bytes, &random) }
            if bytes.count >= 8, round % 4 != 0, let brace = bytes.lastIndex(of: UInt8(ascii: "}")),
                brace >= 8
            {
                bytes = fileBytes(header: Array(bytes[8...brace]), data: Array(bytes[(brace + 1)...]))
            }
            check(bytes, "seed \(seed), round \(round): \(bytes)")
        }
    }

    private func mutate(_ bytes: inout [UInt8], _ random: inout SeededGenerator) {
        let tokens = [
            "{", "}", "[", "]", ",", ":", "\"", "\\", "0", "9", "-", ".", "e9", "null", "\\u0041", "é",
        ]
        let position = Int.random(in: 0...bytes.count, using: &random)
        switch Int.random(in: 0..<4, using: &random) {
        case 0 where position < bytes.count: bytes[position] = .random(in: 0...255, using: &random)
        case 1 where position < bytes.count: bytes[position] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        case 2 where position < bytes.count:
            bytes.removeSubrange(position..<min(bytes.count, position + .random(in: 1...4, using: &random)))
        default: bytes.insert(contentsOf: tokens.randomElement(using: &random)?.utf8 ?? "".utf8, at: position)
        }
    }
}
