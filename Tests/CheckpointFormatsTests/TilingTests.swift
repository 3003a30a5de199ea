import CheckpointFormats
import Checkpoints
import Foundation
import TensorCore
import Testing

/// Tensors cut into rectangles in any way, by way of the hub's parts, which state no more than where each goes.
@Suite struct TilingTests {
    /// A rectangle of an index space.
    private struct Box {
        var start: [Int]
        var shape: [Int]
    }

    /// The numbers from 0 in row-major order.
    private func numbers(_ box: Box, of shape: [Int]) -> [UInt8] {
        var result: [UInt8] = []
        let count = box.shape.reduce(1, *)
        for index in 0..<count {
            var rest = index
            var place = 0
            var stride = 1
            for axis in shape.indices.reversed() {
                place += (box.start[axis] + rest % box.shape[axis]) * stride
                rest /= box.shape[axis]
                stride *= shape[axis]
            }
            result.append(UInt8(truncatingIfNeeded: place))
        }
        return result
    }

    /// Writes each rectangle as the part of a rank of its own, and reads the directory.
    private func read(_ boxes: [Box], of shape: [Int]) throws -> Checkpoint {
        let directory = FileManager.default.temporaryDirectory.appending(path: "tiles-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        for (index, box) in boxes.enumerated() {
            let data = numbers(box, of: shape)
            let text =
                #"{"__metadata__":{"DCP_SHARDING_INFO":"{\"t\": {\"saved_offsets\": \#(box.start)}}"},"#
                + #""t":{"dtype":"U8","shape":\#(box.shape),"data_offsets":[0,\#(data.count)]}}"#
            var file = withUnsafeBytes(of: UInt64(text.utf8.count).littleEndian) { Data($0) }
            file += Data(text.utf8) + Data(data)
            let rank = String(100_001 + index).dropFirst()
            try file.write(
                to: directory.appending(path: "shard-\(rank)-model-00001-of-00001.safetensors"))
        }
        // Reading goes through open files, so that the directory may go.
        return try DistributedFixtures.read(directory.path)
    }

    private func contents(_ boxes: [Box], of shape: [Int]) throws -> [UInt8] {
        let tensor = try #require(try read(boxes, of: shape).tensors.first)
        #expect(tensor.shape == shape.map { UInt64($0) })
        return try tensor.source.contents(piece: 5, width: 1)
    }

    private let pinwheel = [
        Box(start: [0, 0], shape: [1, 2]), Box(start: [0, 2], shape: [2, 1]),
        Box(start: [2, 1], shape: [1, 2]), Box(start: [1, 0], shape: [2, 1]),
        Box(start: [1, 1], shape: [1, 1]),
    ]

    @Test func `rectangles that no plane parts are put together too`() throws {
        #expect(try contents(pinwheel, of: [3, 3]) == Array(0..<9))
    }

    @Test func `a hole in the middle is found`() throws {
        let error = try #require(throws: CheckpointError.self) {
            try read(pinwheel.dropLast(), of: [3, 3])
        }
        #expect(error.code == "chunk-hole")
        #expect(error.tensor == "t")
        #expect(error.message.contains("[1, 1]"))
    }

    @Test func `an overlap of two elements is found`() throws {
        var boxes = pinwheel
        boxes[4].shape = [2, 1]
        let error = try #require(throws: CheckpointError.self) { try read(boxes, of: [3, 3]) }
        #expect(error.code == "chunk-overlap")
        #expect(error.message.contains("[2, 1]"))
    }

    @Test(arguments: 0..<20)
    func `any way to cut again and again is put together`(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let shape = (0..<Int.random(in: 1...4, using: &random)).map { _ in
            Int.random(in: 1...6, using: &random)
        }
        var boxes = [Box(start: shape.map { _ in 0 }, shape: shape)]
        for _ in 0..<12 {
            let index = Int.random(in: boxes.indices, using: &random)
            let axis = Int.random(in: shape.indices, using: &random)
            guard boxes[index].shape[axis] > 1 else { continue }
            let cut = Int.random(in: 1..<boxes[index].shape[axis], using: &random)
            var rest = boxes[index]
            rest.start[axis] += cut
            rest.shape[axis] -= cut
            boxes[index].shape[axis] = cut
            boxes.append(rest)
        }
        boxes.shuffle(using: &random)
        let whole = Box(start: shape.map { _ in 0 }, shape: shape)
        #expect(try contents(boxes, of: shape) == numbers(whole, of: shape))
        // Without one of them there is a hole, unless the rest do not reach as far.
        _ = boxes.popLast()
        let reach = shape.indices.map { axis in boxes.map { $0.start[axis] + $0.shape[axis] }.max() ?? 0 }
        guard reach == shape else { return }
        let error = try #require(throws: CheckpointError.self) { try read(boxes, of: shape) }
        #expect(error.code == "chunk-hole")
    }
}
