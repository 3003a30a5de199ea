internal import TensorCore

/// The element type of a NumPy array in a pickle: a call of `numpy.dtype` with its state.
struct NumPyElement {
    /// What it is in SafeTensors, or nil where that has nothing like it.
    let dtype: DType?
    /// Bytes that an element takes.
    let byteWidth: Int
    let isBigEndian: Bool
    /// The name, such as `f4`.
    let name: String

    /// The numbers among the element types; nil for text, objects, records and all else.
    init?(_ value: PickleValue, in heap: PickleHeap) {
        guard case .call(let number) = value else { return nil }
        let call = heap.calls[Int(number)]
        let global = heap.globals[Int(call.global)]
        guard global.module == "numpy", global.name == "dtype", let first = heap.arguments(of: call).first
        else { return nil }
        if case .element(let element) = heap.global(first)?.role {
            self.init(element.dtype, element.byteWidth, element.name, false)
            return
        }
        guard let name = heap.text(first)?.string else { return nil }
        let order = heap.items(call.state).flatMap { $0.count > 1 ? heap.text($0[1])?.string : nil }
        let widths: [String: (DType?, Int)] = [
            "f2": (.f16, 2), "f4": (.f32, 4), "f8": (.f64, 8), "i1": (.i8, 1), "i2": (.i16, 2),
            "i4": (.i32, 4), "i8": (.i64, 8), "u1": (.u8, 1), "u2": (.u16, 2), "u4": (.u32, 4),
            "u8": (.u64, 8), "b1": (.bool, 1), "c8": (.c64, 8), "c16": (nil, 16), "bfloat16": (.bf16, 2),
            "float8_e4m3fn": (.f8E4M3, 1), "float8_e5m2": (.f8E5M2, 1),
        ]
        guard let (dtype, width) = widths[name] else { return nil }
        self.init(dtype, width, name, order == ">")
    }

    private init(_ dtype: DType?, _ byteWidth: Int, _ name: String, _ isBigEndian: Bool) {
        self.dtype = dtype
        self.byteWidth = byteWidth
        self.name = name
        self.isBigEndian = isBigEndian
    }
}

/// A NumPy array in a pickle: a call of `_reconstruct` whose state is version, shape, dtype, order and bytes.
struct NumPyArray {
    let element: NumPyElement
    /// The dimensions; nil where one is no whole number.
    let shape: [UInt64]?
    /// Whether the first axis is the one whose elements are neighbours.
    let isColumnMajor: Bool
    /// The value that is the bytes.
    let data: PickleValue

    /// The array that a call makes; nil for other calls, and for arrays of anything but numbers.
    init?(_ call: PickleCall, in heap: PickleHeap) {
        guard case .array = heap.globals[Int(call.global)].role,
            heap.globals[Int(call.global)].name == TensorRecipe.array.rawValue,
            let state = heap.items(call.state), state.count == 5, let shape = heap.items(state[1]),
            let element = NumPyElement(state[2], in: heap)
        else { return nil }
        self.element = element
        isColumnMajor = state[3] == .boolean(true)
        data = state[4]
        var dimensions: [UInt64]? = []
        for value in shape.prefix(65) {
            guard case .integer(let size) = value, let size = UInt64(exactly: size) else {
                dimensions = nil
                break
            }
            dimensions?.append(size)
        }
        self.shape = dimensions
    }
}
