import Glibc
import SafeTensors
import TensorCore
import Testing

@Suite struct ReadingTests {
    private func header(
        _ text: String, data: [UInt8] = [], mode: ValidationMode = .strict
    ) throws(SafeTensorsError) -> SafeTensorsHeader {
        try SafeTensorsHeader(
            reading: MemorySource(name: "x", contents: fileBytes(text, data: data)), mode: mode)
    }

    private func refusal(_ bytes: [UInt8], mode: ValidationMode = .strict) -> SafeTensorsError? {
        do throws(SafeTensorsError) {
            _ = try SafeTensorsHeader(reading: MemorySource(name: "x", contents: bytes), mode: mode)
            return nil
        } catch {
            return error
        }
    }

    @Test func `tensors are found by name and listed in both orders`() throws {
        let header = try header(
            #"{"b":{"dtype":"U8","shape":[1],"data_offsets":[3,4]},"a":{"data_offsets":[0,3],"shape":[3],"dtype":"I8"}}"#,
            data: [1, 2, 3, 4])
        #expect(header.map(\.name) == ["b", "a"])
        #expect(header.offsetOrder == [1, 0])
        #expect(header["a"]?.dataOffsets == 0..<3)
        #expect(header["a"]?.fileRange == header.dataOffset..<header.dataOffset + 3)
        #expect(header["c"] == nil)
        #expect(header.dataByteCount == 4)
        #expect(!header.hasMetadata)
    }

    @Test func `names are compared as bytes after escapes are replaced`() throws {
        let entry = #"{"dtype":"U8","shape":[0],"data_offsets":[0,0]}"#
        let different = try header("{\"\u{E9}\":\(entry),\"e\u{301}\":\(entry)}")
        #expect(different.count == 2)
        let same = refusal(fileBytes("{\"\u{E9}\":\(entry),\"\\u00e9\":\(entry)}"))
        #expect(same?.code == .duplicateKey && same?.tensor == "\u{E9}")
        #expect(same?.referenceName == nil)
    }

    @Test func `reference mode lets the last of equal names count and says so`() throws {
        let header = try header(
            #"{"a":{"dtype":"U8","shape":[9],"data_offsets":[0,4]},"b":["U8",[0],[0,0]],"a":{"dtype":{"F32":null},"shape":[],"data_offsets":[0,4]}}"#,
            data: [1, 2, 3, 4], mode: .reference)
        #expect(header.map(\.name) == ["b", "a"])
        #expect(header["a"]?.dtype == .f32)
        #expect(header.warnings.count(of: .duplicateTensor) == 1)
        #expect(header.warnings.count(of: .irregularEntry) == 2)
    }

    @Test func `reference mode lets the last of equal metadata keys count`() throws {
        let text = #"{"__metadata__":{"k":"1","x":"2","\u006b":"3"}}"#
        let header = try header(text, mode: .reference)
        #expect(header.metadata.map(\.key) == ["x", "k"] && header.metadata.map(\.value) == ["2", "3"])
        #expect(refusal(fileBytes(text))?.code == .duplicateKey)
    }

    @Test func `metadata keeps its order and its escapes are replaced`() throws {
        let header = try header(#"{"__metadata__" : { "b" : "1\n" , "a":"\ud83d\ude00" } }"#)
        #expect(header.metadata.map(\.key) == ["b", "a"])
        #expect(header.metadata.map(\.value) == ["1\n", "\u{1F600}"])
        #expect(header.hasMetadata)
    }

    @Test func `warnings are counted but kept up to a limit`() throws {
        let entries = (0..<100).map { #""\#($0)":{"x":1,"dtype":"U8","shape":[0],"data_offsets":[0,0]}"# }
        let header = try header("{\(entries.joined(separator: ","))}")
        #expect(header.warnings.count(of: .unknownField) == 100)
        #expect(header.warnings.kept.count == SafeTensorsWarnings.limit)
    }

    @Test func `a very long name is cut in warnings and errors, between characters`() throws {
        let name = String(repeating: #"é\n\ud83d\ude00"#, count: 20_000)
        let fields = String(repeating: #""x":1,"#, count: 20_000)
        let text = #"{"\#(name)":{\#(fields)"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#
        let header = try header(text)
        #expect(header.warnings.count(of: .unknownField) == 20_000)
        #expect(header[0].name.utf8.count == 20_000 * 7)
        for warning in header.warnings.kept {
            let shown = try #require(warning.tensor)
            #expect(shown.utf8.count < 1100 && header[0].name.utf8.starts(with: shown.utf8))
            #expect(Array(shown.string.utf8) == shown.utf8)
        }
    }

    @Test(arguments: [
        ("version https://git-lfs.github.com/spec/v1\n", "Git LFS"), ("PK\u{3}\u{4}aaaaaaaa", "zip"),
        ("GGUF\u{3}\0\0\0\0\0\0\0", "GGUF"), ("<!DOCTYPE html><html>", "HTML"), ("{\"a\": 1}    ", "JSON"),
        ("<HTML>", "HTML"),
    ])
    func `a file of another kind is named`(_ text: String, _ word: String) throws {
        let error = try #require(refusal(Array(text.utf8)))
        #expect(error.message.contains(word))
    }

    @Test func `a pickle and a gzip archive are named`() throws {
        #expect(try #require(refusal([0x80, 2, 0x63, 0, 0, 0, 0, 0, 0])).message.contains("pickle"))
        #expect(try #require(refusal([0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0])).message.contains("gzip"))
    }

    @Test func `numbers that no reader can hold are refused in unknown fields`() {
        func file(_ number: String) -> [UInt8] {
            fileBytes(#"{"a":{"x":\#(number),"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#)
        }
        for number in [
            "1e308", "0e999", "0.1e309", "1e-99999999999", "-1E+5", "1" + String(repeating: "0", count: 308),
        ] {
            #expect(refusal(file(number)) == nil, "\(number)")
        }
        for number in [
            "1e309", "1e99999999999", "-1e400", "1.7976931348623159e308",
            "1" + String(repeating: "0", count: 309),
        ] {
            #expect(refusal(file(number))?.code == .headerNotJSON, "\(number)")
            #expect(refusal(file(number), mode: .reference)?.code == .headerNotJSON, "\(number)")
        }
    }

    @Test func `an unknown field may nest 125 levels and no more`() {
        for (levels, code) in [(125, nil), (126, SafeTensorsError.Code.nestingTooDeep)] {
            let value = String(repeating: "[", count: levels) + String(repeating: "]", count: levels)
            let bytes = fileBytes(#"{"a":{"x":\#(value),"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#)
            #expect(refusal(bytes)?.code == code)
        }
    }

    @Test func `elements are seen in place where type and alignment fit`() throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("m.safetensors")
        let text =
            #"{"f":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"BOOL","shape":[1],"data_offsets":[8,9]},"g":{"dtype":"F32","shape":[1],"data_offsets":[9,13]}}"#
        let padded = text + String(repeating: " ", count: (8 - text.utf8.count % 8) % 8)
        try FileSystem.create(
            path, contents: fileBytes(padded, data: [0, 0, 0x80, 0x3F, 0, 0, 0, 0x40, 1, 0, 0, 0, 0]))
        let file = try SafeTensorsFile(mapping: path)
        #expect(file.header.warnings.count(of: .unalignedTensor) == 1)
        let view = try #require(file.tensor(named: "f"))
        let floats = try #require(
            view.elements(as: Float.self)?.indices.map { view.elements(as: Float.self)?[$0] })
        #expect(floats == [1, 2])
        let bits = view.elements(as: UInt32.self)?[0]
        #expect(bits == 0x3F80_0000)
        let wrong = view.elements(as: Int32.self) == nil && view.elements(as: Double.self) == nil
        #expect(wrong)
        let unaligned = try #require(file.tensor(named: "g"))
        let refused = unaligned.elements(as: Float.self) == nil
        #expect(refused)
    }

    @Test func `anything but a regular file is refused without waiting`() throws {
        let directory = try TemporaryDirectory()
        let fifo = directory.file("fifo")
        mkfifo(fifo, 0o600)
        for path in [directory.path, fifo, "/dev/zero", directory.file("missing")] {
            let error = #expect(throws: SafeTensorsError.self) { try SafeTensorsReader(opening: path) }
            #expect(error?.code == .io)
        }
    }

    @Test func `a file that shrinks after it was opened gives an error`() throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("m.safetensors")
        let layout = try SafeTensorsLayout(tensors: [("a", .u8, [100_000])])
        try writeFile(path, layout) { _ in Array(repeating: 7, count: 100_000) }
        let reader = try SafeTensorsReader(opening: path)
        truncate(path, 4096)
        let error = #expect(throws: SafeTensorsError.self) { try reader.bytes(of: reader.header[0]) }
        #expect(error?.code == .io && error?.io?.code == .unexpectedEnd)
    }

    @Test func `offsets beyond four gigabytes give the right bytes`() throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("m.safetensors")
        let layout = try SafeTensorsLayout(tensors: [("a", .u16, [1 << 32]), ("b", .u8, [4])])
        try FileSystem.create(path, contents: layout.header)
        truncate(path, off_t(layout.fileByteCount))
        let descriptor = open(path, O_WRONLY)
        pwrite(descriptor, [1, 2, 3, 4] as [UInt8], 4, off_t(layout.fileByteCount - 4))
        close(descriptor)
        let reader = try SafeTensorsReader(opening: path)
        #expect(try reader.bytes(of: #require(reader.header["b"])) == [1, 2, 3, 4])
        let file = try SafeTensorsFile(mapping: path)
        let view = try #require(file.tensor(named: "b"))
        let bytes = view.bytes.array()
        #expect(bytes == [1, 2, 3, 4])
    }

    @Test func `a nonzero BOOL byte is found in any block`() throws {
        var data = [UInt8](repeating: 1, count: 600_000)
        data[500_000] = 2
        let text = #"{"a":{"dtype":"BOOL","shape":[600000],"data_offsets":[0,600000]}}"#
        let source = MemorySource(name: "x", contents: fileBytes(text, data: data))
        let warnings = try SafeTensorsReader(source).scanValues()
        #expect(warnings.kept.first?.offset == UInt64(8 + text.utf8.count + 500_000))
    }
}
