import SafeTensors
import TensorCore
import TestSupport
import Testing

/// A slice as a test case and as Python spells it.
private struct SliceCase {
    var dtype: DType
    var shape: [UInt64]
    var selections: [AxisSelection]

    var python: String {
        let parts = selections.map { selection in
            switch selection {
            case .index(let index): "\(index)"
            case .range(let from, let to, let step):
                "\(from.map(String.init) ?? ""):\(to.map(String.init) ?? "")" + (step == 1 ? "" : ":\(step)")
            case .ellipsis: "..."
            case .newAxis: "None"
            }
        }
        return parts.isEmpty ? "()" : parts.joined(separator: ",") + ","
    }

    /// The result's shape and bytes, or the error's code, from memory and from a source.
    func result(in data: [UInt8]) throws -> String {
        let selection: TensorSelection
        do throws(SafeTensorsError) {
            selection = try TensorSelection(selections, of: dtype, shape: shape)
        } catch {
            return "!\(error.code.rawValue)|"
        }
        let copied = [UInt8](count: selection.byteCount) {
            selection.copy(from: RawSpan(_elements: data.span), into: &$0)
        }
        let source = MemorySource(name: "x", contents: [9, 9, 9] + data)
        let read = try [UInt8](count: selection.byteCount) {
            try selection.read(from: source, at: 3, into: &$0)
        }
        #expect(read == copied, "\(dtype) \(shape) \(python)")
        let hex = copied.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
        return selection.shape.map(String.init).joined(separator: ",") + "|" + hex
    }

    var line: String { "\(dtype.bitWidth)|\(shape.map(String.init).joined(separator: ","))|\(python)" }
}

@Suite struct SliceTests {
    private static let dtypes: [DType] = [.f4, .f6E2M3, .u8, .bf16, .f32, .i64, .c64]

    private func randomCase(_ random: inout TestSupport.SeededGenerator) -> SliceCase {
        let dtype = Self.dtypes.randomElement(using: &random) ?? .u8
        let rank = Int.random(in: 0...4, using: &random)
        var shape = (0..<rank).map { _ in UInt64([1, 2, 3, 4, 5, 7, 8].randomElement(using: &random) ?? 1) }
        if rank > 0, Int.random(in: 0..<12, using: &random) == 0 { shape[0] = 0 }
        let count = Int.random(
            in: 0...rank + (Int.random(in: 0..<20, using: &random) == 0 ? 1 : 0), using: &random)
        var selections: [AxisSelection] = (0..<count).map { axis in
            let size = axis < rank ? Int(shape[axis]) : 1
            func end() -> Int? {
                switch Int.random(in: 0..<10, using: &random) {
                case 0..<3: nil
                case 3: [Int.min, .max, -1000, 1000].randomElement(using: &random)
                default: .random(in: -size - 2...size + 2, using: &random)
                }
            }
            if Int.random(in: 0..<4, using: &random) == 0 {
                let reach = Int.random(in: 0..<20, using: &random) == 0 ? 2 : 0
                return .index(.random(in: -size - reach...max(-size, size - 1) + reach, using: &random))
            }
            let steps = [1, 1, 1, 2, 3, -1, -2, -3, 100, -100, .max, .min + 1]
            let step =
                Int.random(in: 0..<60, using: &random) == 0 ? 0 : steps.randomElement(using: &random) ?? 1
            return .range(from: end(), to: end(), by: step)
        }
        for special in [AxisSelection.ellipsis, .newAxis, .newAxis, .ellipsis]
        where Int.random(in: 0..<8, using: &random) == 0 {
            selections.insert(special, at: .random(in: 0...selections.count, using: &random))
        }
        return SliceCase(dtype: dtype, shape: shape, selections: selections)
    }

    @Test(.enabled(if: Oracle.isAvailable), arguments: 0..<4 as Range<UInt64>)
    func `slices are NumPy's`(_ seed: UInt64) throws {
        var random = TestSupport.SeededGenerator(seed: seed)
        let data = random.bytes(49_152)
        var text = ""
        for _ in 0..<2500 {
            let item = randomCase(&random)
            text += "\(item.line)|\(try item.result(in: data))\n"
        }
        let directory = try TestSupport.TemporaryDirectory()
        try directory.write("data", data)
        try directory.write("cases", text)
        try Oracle.run("slices.py", directory.file("data"), directory.file("cases"))
    }

    @Test(
        .enabled(if: Oracle.isAvailable),
        arguments: [DType.i32, .f4, .f6E3M2])
    func `the slices on which the reference fails are NumPy's`(_ dtype: DType) throws {
        var random = TestSupport.SeededGenerator(seed: 9)
        let data = random.bytes(384)
        let all = AxisSelection.all
        let selections: [[AxisSelection]] = [
            [.range(by: 2)], [.range(from: 2, to: 8, by: 3)], [all, .range(by: 2)], [.index(-1)], [.ellipsis],
            [.range(from: -2)], [all, .range(to: -1)], [.range(from: 10)], [.range(to: 20)],
            [.range(from: 2, to: 2)], [.range(from: 4, to: 2)], [.index(10)], [.index(-11)],
            [all, all, all], [.index(3), .index(-5)], [.range(by: -1), .range(by: -1)], [],
        ]
        var text = ""
        for selection in selections {
            let item = SliceCase(dtype: dtype, shape: [10, 6], selections: selection)
            text += "\(item.line)|\(try item.result(in: data))\n"
        }
        let directory = try TestSupport.TemporaryDirectory()
        try directory.write("data", data)
        try directory.write("cases", text)
        try Oracle.run("slices.py", directory.file("data"), directory.file("cases"))
    }

    @Test(arguments: [DType.f4, .f6E2M3, .u8, .f16, .i64])
    func `large slices read from a source are those of memory`(_ dtype: DType) throws {
        var random = TestSupport.SeededGenerator(seed: UInt64(dtype.rawValue))
        let data = random.bytes(1_228_800)
        let count = 1_228_800 * 8 / dtype.bitWidth
        let shapes: [[UInt64]] = [
            [UInt64(count)], [4, UInt64(count / 4)], [UInt64(count / 4), 4], [UInt64(count / 4096), 4096],
        ]
        for shape in shapes {
            let last = AxisSelection.range(from: 1, by: Int.random(in: 1...3, using: &random))
            for selections in [
                [.range(by: -3)], [.ellipsis, last], [.range(from: 1, to: -1)], [.range(by: 700)],
                [.range(by: -1), .ellipsis, .range(to: -1)],
            ] as [[AxisSelection]] where selections.count(where: { $0 != .ellipsis }) <= shape.count {
                let selection = try TensorSelection(selections, of: dtype, shape: shape)
                let copied = [UInt8](count: selection.byteCount) {
                    selection.copy(from: RawSpan(_elements: data.span), into: &$0)
                }
                let source = MemorySource(name: "x", contents: data)
                let read = try [UInt8](count: selection.byteCount) {
                    try selection.read(from: source, at: 0, into: &$0)
                }
                if copied != read { Issue.record("\(dtype) \(shape) \(selections)") }
            }
        }
    }
}
