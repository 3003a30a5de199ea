import SafeTensors
import TensorCore
import TestSupport
import Testing

@Suite struct AccessTests {
    private static let header =
        #"{"f":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"b":{"dtype":"BOOL","shape":[3],"data_offsets":[16,19]},"g":{"dtype":"F32","shape":[1],"data_offsets":[19,23]},"n":{"dtype":"F4","shape":[2,3],"data_offsets":[23,26]}}"#
    /// 1, 2, 3, 4 as F32, three flags, 1.5 as F32, 1 to 6 as F4.
    private static let data: [UInt8] = [
        0, 0, 0x80, 0x3F, 0, 0, 0, 0x40, 0, 0, 0x40, 0x40, 0, 0, 0x80, 0x40, 0, 1, 7, 0, 0, 0xC0, 0x3F, 0x21,
        0x43, 0x65,
    ]

    private func file(_ directory: TestSupport.TemporaryDirectory) throws -> SafeTensorsFile {
        let padding = String(repeating: " ", count: (8 - Self.header.utf8.count % 8) % 8)
        let path = try directory.write("m.safetensors", fileBytes(Self.header + padding, data: Self.data))
        return try SafeTensorsFile(mapping: path)
    }

    @Test func `single elements are loaded at any alignment`() throws {
        let directory = try TestSupport.TemporaryDirectory()
        let file = try file(directory)
        let unaligned = try #require(file.tensor(named: "g"))
        #expect(unaligned.element(at: 0, as: Float.self) == 1.5)
        #expect(unaligned.element(at: 1, as: Float.self) == nil)
        #expect(unaligned.element(at: -1, as: Float.self) == nil)
        #expect(unaligned.element(at: 0, as: Double.self) == nil)
    }

    @Test func `every byte but zero is true`() throws {
        let directory = try TestSupport.TemporaryDirectory()
        let file = try file(directory)
        let flags = try #require(file.tensor(named: "b"))
        #expect((-1...3).map { flags.bool(at: $0) } == [nil, false, true, true, nil])
        #expect(try #require(file.tensor(named: "f")).bool(at: 0) == nil)
    }

    @Test func `a slice of whole rows is a view and another is copied`() throws {
        let directory = try TestSupport.TemporaryDirectory()
        let file = try file(directory)
        let view = try #require(file.tensor(named: "f"))
        let row = try view.slice(.index(1))
        #expect(row.shape == [2])
        #expect(row.bytes?.array() == Array(Self.data[8..<16]))
        let column = try view.slice(.all, .index(0))
        let isCopied = column.bytes == nil
        #expect(isCopied && column.copiedBytes() == Array(Self.data[0..<4] + Self.data[8..<12]))
    }

    @Test func `F4 is sliced by element and repacked where it begins within a byte`() throws {
        let directory = try TestSupport.TemporaryDirectory()
        let file = try file(directory)
        // The elements are 1 2 3, 4 5 6.
        let view = try #require(file.tensor(named: "n"))
        let second = try view.slice(.index(1))
        let isCopied = second.bytes == nil
        #expect(isCopied && second.copiedBytes() == [0x54, 0x06])
        let corner = try view.slice(.index(0), .range(to: 2))
        #expect(corner.bytes?.array() == [0x21])
        #expect(try view.slice(.range(by: -1), .range(by: -1)).copiedBytes() == [0x56, 0x34, 0x12])
    }

    @Test func `values are decoded from a mapping and from a source`() throws {
        let directory = try TestSupport.TemporaryDirectory()
        let file = try file(directory)
        #expect(try #require(file.tensor(named: "f")).floats() == [1, 2, 3, 4])
        #expect(try #require(file.tensor(named: "n")).doubles() == [0.5, 1, 1.5, 2, 3, 4])
        let reader = try SafeTensorsReader(opening: directory.file("m.safetensors"))
        #expect(try reader.floats(of: #require(reader.header["g"])) == [1.5])
        #expect(try reader.doubles(of: #require(reader.header["b"])) == [0, 1, 1])
    }

    @Test func `what is wrong with a selection is said`() throws {
        func refusal(_ selections: [AxisSelection], _ shape: [UInt64]) -> SafeTensorsError? {
            do throws(SafeTensorsError) {
                _ = try TensorSelection(selections, of: .u8, shape: shape)
                return nil
            } catch {
                return error
            }
        }
        let error = refusal([.all, .index(5)], [2, 5])
        #expect(error?.code == .outOfRange && error?.message.contains("axis 1 with size 5") == true)
        #expect(refusal([.all, .all], [2])?.code == .tooManyIndices)
        #expect(refusal([.range(by: 0)], [2])?.code == .badSelection)
        #expect(refusal([.ellipsis, .ellipsis], [2])?.code == .badSelection)
        #expect(refusal([], [1 << 62, 8])?.code == .sizeOverflow)
        #expect(refusal([.index(0)], [.max, 0])?.code == .sizeOverflow)
        #expect(refusal([], [])?.code == nil)
    }
}
