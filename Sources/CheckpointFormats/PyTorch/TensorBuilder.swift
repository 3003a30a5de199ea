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

    /// What a persistent id refers to.
    struct TorchStorage {
        var extent: Extent
        var element: TorchElement
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
        var recipe = try recipe(of: call, name)
        var arguments = heap.arguments(of: call)
        // A parameter around a typed tensor around a plain one is as deep as it gets.
        for _ in 0..<8 {
            switch recipe {
            case .tensor: return try plain(arguments, count: 4, named: name)
            case .tensorV2: return try plain(arguments, count: 6, named: name)
            case .tensorV3: return try plain(arguments, count: 7, named: name)
            case .parameter, .parameterWithState:
                guard case .call(let inner) = arguments.first else { throw damaged(name) }
                recipe = try self.recipe(of: heap.calls[Int(inner)], name)
                arguments = heap.arguments(of: heap.calls[Int(inner)])
            case .fromType:
                guard arguments.count == 4, case .tensor(let inner) = heap.global(arguments[0])?.role,
                    let items = heap.items(arguments[2])
                else { throw damaged(name) }
                recipe = inner
                arguments = items
            default: throw unsupported(recipe, name)
            }
        }
        throw damaged(name)
    }

    private func recipe(of call: PickleCall, _ name: TensorName) throws(CheckpointError) -> TensorRecipe {
        guard case .tensor(let recipe) = heap.globals[Int(call.global)].role else { throw damaged(name) }
        return recipe
    }

    private mutating func plain(
        _ arguments: [PickleValue], count: Int, named name: TensorName
    ) throws(CheckpointError) -> TensorRecord {
        guard arguments.count >= count, case .persistent(let number) = arguments[0],
            case .integer(let offset) = arguments[1], let size = heap.items(arguments[2]),
            let stride = heap.items(arguments[3])
        else { throw damaged(name) }
        let storage = try storage(number, name)
        var element = storage.element
        if count == 7 {
            guard case .element(let stated) = heap.global(arguments[6])?.role else { throw damaged(name) }
            element = stated
        }
        guard let dtype = element.dtype else {
            throw error(
                .unsupported, "dtype-unsupported",
                "SafeTensors has no dtype for \(element.name): convert the tensor first", name)
        }
        let view = View(
            offset: storage.extent.offset, element: element,
            elementOffset: try unsigned(offset, "negative-offset", "an offset is negative", name),
            shape: try dimensions(size, "bad-shape", "a dimension is negative", name),
            strides: try dimensions(stride, "negative-stride", "a stride is negative", name))
        try check(view, in: storage, name)
        try countOutput(of: view, name)
        var record = try record(view, of: storage, dtype: dtype, named: name)
        if count > 4, arguments.count > count {
            record.source = try applyFlags(arguments[count], to: record.source, dtype, name)
        }
        return record
    }

    private func record(
        _ view: View, of storage: TorchStorage, dtype: DType, named name: TensorName
    ) throws(CheckpointError) -> TensorRecord {
        let width = view.element.byteWidth
        var source = StridedView.source(
            storage: storage.extent, elementByteCount: width, elementOffset: view.elementOffset,
            shape: view.shape, strides: view.strides)
        let swapWidth = dtype == .c64 ? 4 : width
        if storages.isBigEndian, swapWidth > 1 { source = .byteSwapped(source, width: swapWidth) }
        var shape = view.shape
        if dtype == .f4 {
            guard let last = shape.last, last < .max / 2, DType.elementCount(of: shape) ?? .max < .max / 2
            else {
                throw error(
                    .unsupported, "dtype-unsupported", "a scalar of two F4 elements has no shape", name)
            }
            shape[shape.count - 1] = last * 2
        }
        return TensorRecord(name: name, dtype: dtype, shape: shape, source: source)
    }
}

/// Checks of views.
extension TensorBuilder {
    /// Checks that every index of the view lies in the storage and that its size can be counted.
    private func check(_ view: View, in storage: TorchStorage, _ name: TensorName) throws(CheckpointError) {
        guard view.shape.count == view.strides.count, view.shape.count <= 64 else {
            throw error(
                .malformed, "bad-shape",
                "the tensor has \(view.shape.count) dimensions and \(view.strides.count) strides", name)
        }
        guard byteCount(of: view) != nil else {
            throw error(.malformed, "shape-overflow", "the size of the tensor is beyond 64 bits", name)
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
        guard isInside, last < available else {
            throw error(
                .malformed, "view-out-of-bounds",
                "the tensor uses elements beyond the \(available) of its storage", name)
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

    private mutating func countOutput(of view: View, _ name: TensorName) throws(CheckpointError) {
        guard seen.insert(view).inserted, let count = byteCount(of: view) else { return }
        let (total, overflow) = outputByteCount.addingReportingOverflow(count)
        guard !overflow, total <= outputLimit else {
            throw error(
                .malformed, "output-limit",
                "the tensors repeat \(storages.byteCount) stored bytes until they take more than "
                    + "\(outputLimit): save them without expanding them", name)
        }
        outputByteCount = total
    }

    private func unsigned(
        _ value: Int64, _ code: String, _ message: String, _ name: TensorName
    ) throws(CheckpointError) -> UInt64 {
        guard let result = UInt64(exactly: value) else { throw error(.malformed, code, message, name) }
        return result
    }

    private func dimensions(
        _ values: [PickleValue], _ code: String, _ message: String, _ name: TensorName
    ) throws(CheckpointError) -> [UInt64] {
        guard values.count <= 64 else { throw damaged(name) }
        var result: [UInt64] = []
        for value in values {
            guard case .integer(let number) = value else { throw damaged(name) }
            result.append(try unsigned(number, code, message, name))
        }
        return result
    }

    /// Carries out the conjugation and the negation that torch keeps as flags of a view.
    private func applyFlags(
        _ metadata: PickleValue, to source: TensorSource, _ dtype: DType, _ name: TensorName
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
                "the tensor is a lazily negated view of \(dtype.name): save tensor.resolve_neg()", name)
        }
    }
}

/// Storages.
extension TensorBuilder {
    private mutating func storage(_ number: Int32, _ name: TensorName) throws(CheckpointError) -> TorchStorage
    {
        if let storage = known[number] { return storage }
        let storage = try resolve(heap.persistents[Int(number)], name)
        known[number] = storage
        return storage
    }

    /// The storage that a persistent id refers to, where the file has all of it.
    private func resolve(_ identifier: PickleValue, _ name: TensorName) throws(CheckpointError)
        -> TorchStorage
    {
        guard let reference = StorageReference(identifier, in: heap) else { throw damaged(name) }
        guard let item = storages.items[ByteKey(reference.key)] else {
            throw error(
                .malformed, "storage-missing",
                "the file lacks the tensor's storage '\(escaped(reference.key))'", name)
        }
        guard !item.isDeflated else {
            throw error(
                .unsupported, "deflated-storage",
                "the tensor's storage is compressed: unpack the archive and zip it again without compression",
                name, member: item.member)
        }
        let (expected, overflow) = reference.elementCount.multipliedReportingOverflow(
            by: UInt64(reference.element.byteWidth))
        guard !overflow, item.byteCount == expected else {
            throw error(
                .malformed, "storage-size-mismatch",
                "the tensor's storage should have \(reference.elementCount) elements of "
                    + "\(reference.element.byteWidth) bytes but has \(item.byteCount) bytes", name,
                member: item.member)
        }
        var extent = Extent(
            source: storages.source, offset: item.range.lowerBound, byteCount: item.byteCount)
        if let view = reference.view {
            guard view.upperBound <= reference.elementCount else { throw damaged(name) }
            let width = UInt64(reference.element.byteWidth)
            extent.offset += view.lowerBound * width
            extent.byteCount = UInt64(view.count) * width
        }
        return TorchStorage(extent: extent, element: reference.element)
    }
}

/// Errors.
extension TensorBuilder {
    private func error(
        _ class: CheckpointError.Class, _ code: String, _ message: String, _ name: TensorName,
        member: String? = nil
    ) -> CheckpointError {
        CheckpointError(`class`, code, message, file: file, member: member, tensor: name)
    }

    private func damaged(_ name: TensorName) -> CheckpointError {
        error(.malformed, "bad-tensor", "the description of the tensor is damaged", name)
    }

    private func unsupported(_ recipe: TensorRecipe, _ name: TensorName) -> CheckpointError {
        let (kind, advice) =
            switch recipe {
            case .quantized: ("quantized", "save tensor.dequantize()")
            case .sparse: ("sparse", "save tensor.to_dense()")
            case .meta: ("meta", "the file holds no data for it")
            case .nested: ("nested", "save tensor.to_padded_tensor(0)")
            case .wrapperSubclass: ("subclass", "save the plain tensor, such as tensor.full_tensor()")
            default: ("device", "save tensor.cpu()")
            }
        return error(
            .unsupported, "\(kind)-unsupported",
            "a \(kind) tensor (\(recipe.rawValue)) has no plain bytes to copy: \(advice)", name)
    }
}
