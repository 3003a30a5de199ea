internal import Checkpoints
internal import TensorCore

/// Tensors inside others: DTensors, tensors that came from a device, NumPy arrays.
extension TensorBuilder {
    /// A tensor of another device, saved as a plain one or an array of a dtype that NumPy has.
    mutating func moved(
        _ inner: Int32, _ arguments: [PickleValue]
    ) throws(CheckpointError) -> TensorExpression {
        guard arguments.count >= 2, case .element(let element) = heap.global(arguments[1])?.role else {
            throw damaged()
        }
        let call = heap.calls[Int(inner)]
        // What is around it may not be around again.
        switch heap.globals[Int(call.global)].role {
        case .tensor(.deviceFromCPU), .tensor(.deviceFromNumPy): throw damaged()
        default: break
        }
        let stored = try tensor(call)
        guard let dtype = element.dtype else {
            throw error(
                .unsupported, "dtype-unsupported",
                "SafeTensors has no dtype for \(element.name): convert the tensor first")
        }
        do { return try stored.cast(to: dtype) } catch {
            throw self.error(.unsupported, "dtype-unsupported", "\(error)")
        }
    }

    /// An array whose bytes stand in the pickle.
    mutating func array(_ call: PickleCall) throws(CheckpointError) -> TensorExpression {
        guard let array = NumPyArray(call, in: heap), let shape = array.shape, shape.count <= 64 else {
            throw damaged()
        }
        guard let dtype = array.element.dtype else {
            throw error(
                .unsupported, "dtype-unsupported",
                "SafeTensors has no dtype for NumPy's \(array.element.name)")
        }
        guard let bytes = heap.rawBytes(array.data), let size = dtype.byteCount(of: shape),
            size == UInt64(bytes.count)
        else {
            throw error(
                .malformed, "array-size-mismatch", "the array does not have the bytes that its shape needs")
        }
        try countOutput(size)
        // Sources of one name are taken for the same bytes.
        let memory = MemorySource(name: "\(file): array \(array.data)", contents: bytes)
        var source = TensorSource.extent(Extent(source: memory, offset: 0, byteCount: size))
        if array.element.isBigEndian, array.element.byteWidth > 1 {
            source = .byteSwapped(source, width: dtype == .c64 ? 4 : array.element.byteWidth)
        }
        guard array.isColumnMajor, shape.count > 1 else { return try expression(dtype, shape, source) }
        let stored = try expression(dtype, shape.reversed(), source)
        do { return try stored.permuted(Array(shape.indices.reversed())) } catch { throw damaged() }
    }

    /// A DTensor whose local part is the whole of it.
    mutating func wrapped(
        _ arguments: [PickleValue], state: PickleValue
    ) throws(CheckpointError) -> TensorExpression {
        guard let global = arguments.first.flatMap(heap.global), global.name == "DTensor",
            let attributes = heap.attributes(state), arguments.count > 2,
            let size = heap.items(arguments[2])
        else { throw unsupported(.wrapperSubclass) }
        func attribute(_ name: String) -> PickleValue? { heap.known(name).flatMap { attributes[$0] } }
        guard case .call(let local) = attribute("_local_tensor") else { throw damaged() }
        let call = heap.calls[Int(local)]
        // A part that is wrapped itself would need the placements of both.
        let isWrapped = heap.arguments(of: call).first.flatMap(heap.global).map { inner in
            if case .tensor(.wrapperSubclass) = inner.role { true } else { false }
        }
        guard isWrapped != true else { throw unsupported(.wrapperSubclass) }
        let result = try tensor(call)
        let shape = try dimensions(size, "bad-shape", "a dimension is negative")
        let placements = self.placements(in: attribute("_spec"))
        guard result.shape == shape, placements?.contains(where: { $0.hasPrefix("Partial") }) == false else {
            let placed =
                placements.map { "(" + $0.joined(separator: ", ") + ")" } ?? "in a way not known here"
            throw error(
                .unsupported, "partial-shard",
                "the file holds one rank's part \(result.shape) of a DTensor of \(shape), placed \(placed): "
                    + "save tensor.full_tensor(), or use torch.distributed.checkpoint and its directory")
        }
        return result
    }

    /// How a DTensor lies on its mesh, such as `Shard(dim=0)`, or nil where that cannot be seen.
    private func placements(in spec: PickleValue?) -> [String]? {
        func state(_ value: PickleValue?) -> PickleDictionary? {
            if case .call(let number) = value { heap.attributes(heap.calls[Int(number)].state) } else { nil }
        }
        guard let spec = state(spec), let key = heap.known("placements"),
            let items = spec[key].flatMap(heap.items)
        else { return nil }
        var result: [String] = []
        for item in items {
            guard case .call(let number) = item else { return nil }
            let name = escaped(heap.globals[Int(heap.calls[Int(number)].global)].name.utf8)
            let dimension = heap.known("dim").flatMap { state(item)?[$0] }
            if case .integer(let dimension) = dimension {
                result.append("\(name)(dim=\(dimension))")
            } else {
                result.append(name)
            }
        }
        return result
    }
}
