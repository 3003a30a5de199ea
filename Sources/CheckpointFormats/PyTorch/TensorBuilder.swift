internal import Checkpoints
internal import TensorCore

/// Makes records of tensors from the calls that a pickle describes them by, every index checked.
struct TensorBuilder {
    let heap: PickleHeap
    let storages: StorageTable
    /// The file, for errors.
    let file: String

    private var known: [Int32: TorchStorage] = [:]
    private var seen: Set<View> = []
    private var outputByteCount: UInt64 = 0
    private let outputLimit: UInt64
    /// The tensor that is being made, for errors.
    private(set) var name = TensorName("")
    /// How many tensors are around the one that is being made.
    private var depth = 0

    /// What a persistent id refers to.
    struct TorchStorage {
        var extent: Extent
        var element: TorchElement
        /// Whether numbers have their most significant byte first.
        var isBigEndian: Bool
    }

    /// A way to look at a storage.
    struct View: Hashable {
        var offset: UInt64
        var element: TorchElement
        var elementOffset: UInt64
        var shape: [UInt64]
        var strides: [UInt64]
    }

    /// A repeating view may take more room when written than it took in the file: at most eight times all
    /// storages and one gibibyte, over all tensors that are not tied.
    init(heap: PickleHeap, storages: StorageTable, file: String) {
        self.heap = heap
        self.storages = storages
        self.file = file
        let (eightfold, overflow) = storages.byteCount.multipliedReportingOverflow(by: 8)
        outputLimit = overflow || eightfold > .max - (1 << 30) ? .max : eightfold + (1 << 30)
    }

    /// The tensor that `call` describes.
    mutating func record(_ call: PickleCall, named name: TensorName) throws(CheckpointError) -> TensorRecord {
        self.name = name
        return TensorRecord(name: name, try tensor(call))
    }

    /// The tensor that `call` describes, without its name.
    mutating func tensor(_ call: PickleCall) throws(CheckpointError) -> TensorExpression {
        depth += 1
        defer { depth -= 1 }
        guard depth <= 4 else { throw damaged() }
        var recipe = try recipe(of: call)
        var call = call
        var arguments = heap.arguments(of: call)
        var state = call.state
        // A parameter around a typed tensor around a plain one is as deep as it gets.
        for _ in 0..<8 {
            switch recipe {
            case .tensor: return try plain(arguments, count: 4)
            case .tensorV2: return try plain(arguments, count: 6)
            case .tensorV3: return try plain(arguments, count: 7)
            case .quantized: return try quantized(arguments)
            case .sparse: return try sparse(arguments)
            case .array: return try array(call)
            case .wrapperSubclass: return try wrapped(arguments, state: state)
            case .parameter, .parameterWithState, .deviceFromCPU, .deviceFromNumPy:
                guard case .call(let inner) = arguments.first else { throw damaged() }
                let isDevice = recipe == .deviceFromCPU || recipe == .deviceFromNumPy
                if isDevice { return try moved(inner, arguments) }
                call = heap.calls[Int(inner)]
                recipe = try self.recipe(of: call)
                arguments = heap.arguments(of: call)
                state = call.state
            case .fromType:
                guard arguments.count == 4, case .tensor(let inner) = heap.global(arguments[0])?.role,
                    let items = heap.items(arguments[2])
                else { throw damaged() }
                recipe = inner
                state = arguments[3]
                arguments = items
            case .meta, .nested: throw unsupported(recipe)
            }
        }
        throw damaged()
    }

    private func recipe(of call: PickleCall) throws(CheckpointError) -> TensorRecipe {
        switch heap.globals[Int(call.global)].role {
        case .tensor(let recipe): return recipe
        case .array where NumPyArray(call, in: heap) != nil: return .array
        default: throw damaged()
        }
    }

    /// The tensor that a value is.
    mutating func tensor(at value: PickleValue?) throws(CheckpointError) -> TensorExpression {
        guard case .call(let number) = value else { throw damaged() }
        return try tensor(heap.calls[Int(number)])
    }

    private mutating func plain(
        _ arguments: [PickleValue], count: Int
    ) throws(CheckpointError) -> TensorExpression {
        var element: TorchElement?
        if count == 7 {
            guard arguments.count >= 7, case .element(let stated) = heap.global(arguments[6])?.role else {
                throw damaged()
            }
            element = stated
        }
        let (view, storage) = try view(arguments, count: count, as: element)
        let metadata = arguments.count > count ? arguments[count] : .none
        if view.element.name == "complex32" {
            // Real and imaginary part are F16 each; both become F32.
            let halves = source(view, of: storage, swapWidth: 2)
            let parts = halves.converted(from: .f16, to: .f32)
            return try expression(.c64, view.shape, try applyFlags(metadata, to: parts, .c64))
        }
        guard let dtype = view.element.dtype else {
            throw error(
                .unsupported, "dtype-unsupported",
                "SafeTensors has no dtype for \(view.element.name): convert the tensor first")
        }
        var shape = view.shape
        if dtype == .f4 {
            guard let last = shape.last, last < .max / 2, DType.elementCount(of: shape) ?? .max < .max / 2
            else {
                throw error(.unsupported, "dtype-unsupported", "a scalar of two F4 elements has no shape")
            }
            shape[shape.count - 1] = last * 2
        }
        let plain = source(view, of: storage, swapWidth: dtype == .c64 ? 4 : view.element.byteWidth)
        return try expression(dtype, shape, try applyFlags(metadata, to: plain, dtype))
    }
}

/// Views.
extension TensorBuilder {
    /// The view that the first four arguments describe, checked.
    ///
    /// - Parameter element: what the elements are, where that is not what the storage says.
    mutating func view(
        _ arguments: [PickleValue], count: Int, as element: TorchElement? = nil
    ) throws(CheckpointError) -> (View, TorchStorage) {
        guard arguments.count >= count, count >= 4, case .integer(let offset) = arguments[1],
            let size = heap.items(arguments[2]), let stride = heap.items(arguments[3])
        else { throw damaged() }
        let storage = try storage(arguments[0])
        let view = View(
            offset: storage.extent.offset, element: element ?? storage.element,
            elementOffset: try unsigned(offset, "negative-offset", "an offset is negative"),
            shape: try dimensions(size, "bad-shape", "a dimension is negative"),
            strides: try dimensions(stride, "negative-stride", "a stride is negative"))
        try check(view, in: storage)
        if seen.insert(view).inserted { try countOutput(byteCount(of: view) ?? .max) }
        return (view, storage)
    }

    /// The elements of a view, row-major and little-endian.
    func source(_ view: View, of storage: TorchStorage, swapWidth: Int) -> TensorSource {
        let source = StridedView.source(
            storage: storage.extent, elementByteCount: view.element.byteWidth,
            elementOffset: view.elementOffset, shape: view.shape, strides: view.strides)
        return storage.isBigEndian && swapWidth > 1 ? .byteSwapped(source, width: swapWidth) : source
    }

    func expression(
        _ dtype: DType, _ shape: [UInt64], _ source: TensorSource
    ) throws(CheckpointError) -> TensorExpression {
        do { return try TensorExpression(dtype: dtype, shape: shape, source: source) } catch {
            throw self.error(.malformed, "bad-tensor", "\(error)")
        }
    }

    /// Checks that every index of the view lies in the storage and that its size can be counted.
    private func check(_ view: View, in storage: TorchStorage) throws(CheckpointError) {
        guard view.shape.count == view.strides.count, view.shape.count <= 64 else {
            throw error(
                .malformed, "bad-shape",
                "the tensor has \(view.shape.count) dimensions and \(view.strides.count) strides")
        }
        guard let size = byteCount(of: view), size <= UInt64(Int64.max) else {
            throw error(.malformed, "shape-overflow", "the size of the tensor is beyond 63 bits")
        }
        if view.shape.contains(0) { return }
        var last = view.elementOffset
        var isInside = true
        for (dimension, stride) in zip(view.shape, view.strides) where dimension > 1 {
            let (reach, tooFar) = (dimension - 1).multipliedReportingOverflow(by: stride)
            let (sum, tooLarge) = last.addingReportingOverflow(reach)
            if tooFar || tooLarge { isInside = false }
            last = sum
        }
        let available = storage.extent.byteCount / UInt64(view.element.byteWidth)
        let inByte = UInt64(view.element.elementsInByte)
        guard isInside, last / inByte < available else {
            throw error(
                .malformed, "view-out-of-bounds",
                "the tensor uses elements beyond the \(available) of its storage")
        }
    }

    /// The bytes of the view when contiguous, or nil on overflow anywhere on the way.
    private func byteCount(of view: View) -> UInt64? {
        var count = UInt64(view.element.byteWidth)
        for dimension in view.shape {
            let (product, overflow) = count.multipliedReportingOverflow(by: dimension)
            if overflow { return nil }
            count = product
        }
        return count
    }

    /// Counts bytes that are written for a tensor.
    mutating func countOutput(_ count: UInt64) throws(CheckpointError) {
        let (total, overflow) = outputByteCount.addingReportingOverflow(count)
        guard !overflow, total <= outputLimit else {
            throw error(
                .malformed, "output-limit",
                "the tensors repeat \(storages.byteCount) stored bytes until they take more than "
                    + "\(outputLimit): save them without expanding them")
        }
        outputByteCount = total
    }

    private func unsigned(
        _ value: Int64, _ code: String, _ message: String
    ) throws(CheckpointError) -> UInt64 {
        guard let result = UInt64(exactly: value) else { throw error(.malformed, code, message) }
        return result
    }

    func dimensions(
        _ values: [PickleValue], _ code: String, _ message: String
    ) throws(CheckpointError) -> [UInt64] {
        guard values.count <= 64 else { throw damaged() }
        var result: [UInt64] = []
        for value in values {
            guard case .integer(let number) = value else { throw damaged() }
            result.append(try unsigned(number, code, message))
        }
        return result
    }

    /// Carries out the conjugation and the negation that torch keeps as flags of a view.
    private func applyFlags(
        _ metadata: PickleValue, to source: TensorSource, _ dtype: DType
    ) throws(CheckpointError) -> TensorSource {
        guard case .dictionary(let number) = metadata else { return source }
        let dictionary = heap.dictionaries[Int(number)]
        func isSet(_ flag: String) -> Bool {
            heap.known(flag).map { dictionary[$0] == .boolean(true) } ?? false
        }
        var result = source
        if isSet("conj"), dtype == .c64 { result = .signFlipped(result, byte: 7, every: 8) }
        guard isSet("neg") else { return result }
        switch dtype {
        case .f16, .bf16: return .signFlipped(result, byte: 1, every: 2)
        case .f32, .c64: return .signFlipped(result, byte: 3, every: 4)
        case .f64: return .signFlipped(result, byte: 7, every: 8)
        default:
            throw error(
                .unsupported, "neg-view",
                "the tensor is a lazily negated view of \(dtype.name): save tensor.resolve_neg()")
        }
    }
}

/// Storages.
extension TensorBuilder {
    private mutating func storage(_ value: PickleValue) throws(CheckpointError) -> TorchStorage {
        switch value {
        case .persistent(let number):
            if let storage = known[number] { return storage }
            let storage = try resolve(heap.persistents[Int(number)])
            known[number] = storage
            return storage
        case .call(let number):
            if let nested = heap.nestedStorages[number] {
                return TorchStorage(extent: nested.extent, element: nested.element, isBigEndian: false)
            }
            try refuseOpaque(value)
            throw damaged()
        default: throw damaged()
        }
    }

    /// Refuses a storage, or a part of what describes it, that an unknown class would make.
    private func refuseOpaque(_ value: PickleValue) throws(CheckpointError) {
        let global: PickleGlobal? =
            switch value {
            case .global: heap.global(value)
            case .call(let number): heap.globals[Int(heap.calls[Int(number)].global)]
            default: nil
            }
        guard let global, case .opaque = global.role else { return }
        let shown = escaped(global.qualifiedName.utf8)
        throw CheckpointError(
            .unsafe, "opaque-storage",
            "where the tensor's bytes are depends on \(shown), whose code nobody knows; nothing was run",
            file: file, tensor: name, global: shown)
    }

    /// The storage that a persistent id refers to, where the file has all of it.
    private func resolve(_ identifier: PickleValue) throws(CheckpointError) -> TorchStorage {
        guard let reference = StorageReference(identifier, in: heap) else {
            for part in heap.items(identifier) ?? [] { try refuseOpaque(part) }
            throw damaged()
        }
        guard let item = storages.items[ByteKey(reference.key)] else {
            throw error(
                .malformed, "storage-missing",
                "the file lacks the tensor's storage '\(escaped(reference.key))'")
        }
        let (expected, overflow) = reference.elementCount.multipliedReportingOverflow(
            by: UInt64(reference.element.byteWidth))
        guard !overflow, item.extent.byteCount == expected else {
            throw error(
                .malformed, "storage-size-mismatch",
                "the tensor's storage should have \(reference.elementCount) elements of "
                    + "\(reference.element.byteWidth) bytes but has \(item.extent.byteCount) bytes",
                member: item.member)
        }
        var extent = item.extent
        if let view = reference.view {
            guard view.upperBound <= reference.elementCount else { throw damaged() }
            let width = UInt64(reference.element.byteWidth)
            extent.offset += view.lowerBound * width
            extent.byteCount = UInt64(view.count) * width
        }
        return TorchStorage(
            extent: extent, element: reference.element, isBigEndian: storages.isBigEndian)
    }
}

/// Errors.
extension TensorBuilder {
    func error(
        _ class: CheckpointError.Class, _ code: String, _ message: String, member: String? = nil
    ) -> CheckpointError {
        CheckpointError(`class`, code, message, file: file, member: member, tensor: name)
    }

    func damaged() -> CheckpointError {
        error(.malformed, "bad-tensor", "the description of the tensor is damaged")
    }

    func unsupported(_ recipe: TensorRecipe, _ more: String = "") -> CheckpointError {
        let (kind, advice) =
            switch recipe {
            case .quantized: ("quantized", "save tensor.dequantize()")
            case .sparse: ("sparse", "save tensor.to_dense()")
            case .meta: ("meta", "the file holds no data for it")
            case .nested: ("nested", "save tensor.to_padded_tensor(0)")
            default: ("subclass", "save the plain tensor, such as tensor.full_tensor()")
            }
        return error(
            .unsupported, "\(kind)-unsupported",
            "a \(kind) tensor (\(recipe.rawValue))\(more) has no plain bytes to copy: \(advice), or leave it "
                + "out with --skip-unsupported")
    }
}
