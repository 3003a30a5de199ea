internal import Checkpoints
internal import TensorCore

/// Turns the tensors of an ONNX file into expressions over its bytes and those of the files beside it.
struct ONNXTensorReader {
    let file: WeightsFile
    /// The files beside it that were used, in the order of first use.
    private(set) var externalFiles: [(location: [UInt8], source: InputFile)] = []
    private var externalIndex: [ByteKey: Int] = [:]
    /// Tensors whose elements became wider, by the name of their type.
    private(set) var widened: [String: Int] = [:]
    private(set) var hasChecksum = false

    private static let fileLimit = 10_000
    /// Payloads of varints up to this size are checked at once.
    private static let eagerByteCount: UInt64 = 1 << 20

    init(file: WeightsFile) { self.file = file }

    /// The expression of a tensor.
    mutating func expression(_ tensor: ONNXTensor) throws(CheckpointError) -> TensorExpression {
        guard let element = ONNXElement(number: tensor.type) else {
            throw error(
                tensor, .malformed, "onnx-type", "it has the element type \(tensor.type), which is none")
        }
        guard let dtype = element.dtype else {
            throw error(
                tensor, .unsupported, "onnx-type",
                "its elements are \(element.name), and no dtype here holds them; "
                    + "--skip-unsupported leaves it out")
        }
        guard !tensor.isSegment else {
            throw error(tensor, .unsupported, "onnx-segment", "it is one of several segments of a tensor")
        }
        let elements = tensor.shape.contains(0) ? 0 : DType.elementCount(of: tensor.shape)
        guard let elements, let size = element.byteCount(elements: elements) else {
            throw error(tensor, .malformed, "size-overflow", "the size of its shape is beyond 63 bits")
        }
        let stored = try storage(of: tensor, element, byteCount: size)
        do throws(ExpressionError) {
            guard let unpacking = element.unpacking, size > 0 else {
                return try TensorExpression(dtype: dtype, shape: tensor.shape, source: stored)
            }
            widened[element.name, default: 0] += 1
            let node = try BlockMap(stored, codec: unpacking)
            return try TensorExpression(dtype: dtype, shape: [node.byteCount], source: .computed(node))
                .sliced(axis: 0, 0..<elements).reshaped(to: tensor.shape)
        } catch {
            throw self.error(tensor, .unsupported, "onnx-type", "\(error)")
        }
    }

    /// The bytes of the elements, little-endian and without gaps.
    private mutating func storage(
        of tensor: ONNXTensor, _ element: ONNXElement, byteCount: UInt64
    ) throws(CheckpointError) -> TensorSource {
        if tensor.isExternal { return try externalStorage(of: tensor, byteCount: byteCount) }
        if let raw = tensor.raw {
            try check(tensor, raw.upperBound - raw.lowerBound, needed: byteCount)
            return .extent(Extent(source: file.source, offset: raw.lowerBound, byteCount: byteCount))
        }
        guard let field = tensor.packed?.field ?? tensor.loose?.field else {
            try check(tensor, 0, needed: byteCount)
            return .extent(Extent(source: file.source, offset: 0, byteCount: 0))
        }
        guard field == element.field else {
            throw error(
                tensor, .malformed, "onnx-field",
                "its elements are \(element.name), and its numbers stand in another field than those have")
        }
        // Numbers of the field: one for each element, part of a complex number, or byte of packed integers.
        let width = element.dtype == .c64 ? 4 : max(1, element.bitWidth / 8)
        if let loose = tensor.loose {
            try check(tensor, UInt64(loose.values.count * width), needed: byteCount)
            return memory(loose.values, width: width, of: tensor)
        }
        guard let range = tensor.packed?.range else { return .filled(pattern: [0], byteCount: 0) }
        let payload = Extent(
            source: file.source, offset: range.lowerBound, byteCount: range.upperBound - range.lowerBound)
        if field == .float || field == .double {
            try check(tensor, payload.byteCount, needed: byteCount)
            return .extent(payload)
        }
        let count = byteCount / UInt64(width)
        guard payload.byteCount >= count, payload.byteCount / 10 <= count else {
            throw error(
                tensor, .malformed, "size-mismatch",
                "its shape needs \(count) numbers, and \(payload.byteCount) bytes are there for them")
        }
        let node = PackedVarints(payload: payload, count: Int(count), width: width)
        if payload.byteCount <= Self.eagerByteCount {
            do { try node.prepare() } catch {
                throw self.error(tensor, .malformed, "size-mismatch", error.detail)
            }
        }
        return .computed(node)
    }

    private func memory(_ values: [UInt64], width: Int, of tensor: ONNXTensor) -> TensorSource {
        var bytes: [UInt8] = []
        for value in values {
            for part in 0..<width { bytes.append(UInt8(truncatingIfNeeded: value >> UInt64(8 * part))) }
        }
        let name = file.source.name + "@\(tensor.offset)"
        return .extent(
            Extent(
                source: MemorySource(name: name, contents: bytes), offset: 0, byteCount: UInt64(bytes.count)))
    }

    private func check(_ tensor: ONNXTensor, _ count: UInt64, needed: UInt64) throws(CheckpointError) {
        guard count == needed else {
            throw error(
                tensor, .malformed, "size-mismatch", "its shape needs \(needed) bytes, and it has \(count)")
        }
    }

    func error(
        _ tensor: ONNXTensor, _ class: CheckpointError.Class, _ code: String, _ message: String
    ) -> CheckpointError {
        CheckpointError(
            `class`, code, message, file: file.name, tensor: TensorName(utf8: tensor.name),
            offset: tensor.offset)
    }
}

// MARK: - Files beside the model

extension ONNXTensorReader {
    private mutating func externalStorage(
        of tensor: ONNXTensor, byteCount: UInt64
    ) throws(CheckpointError) -> TensorSource {
        let external = tensor.external
        // Some writers leave the field there with nothing in it.
        guard tensor.raw?.isEmpty ?? true, tensor.packed == nil, tensor.loose == nil else {
            throw error(
                tensor, .malformed, "ambiguous-data",
                "its bytes are said to be in another file, and it has some here")
        }
        guard let location = external.location else {
            throw error(tensor, .malformed, "external-data", "it does not say which file its bytes are in")
        }
        hasChecksum = hasChecksum || external.hasChecksum
        if let stated = external.byteCount { try check(tensor, stated, needed: byteCount) }
        let source = try externalFile(location, for: tensor)
        let (end, overflow) = external.offset.addingReportingOverflow(byteCount)
        guard !overflow, end <= source.byteCount else {
            throw error(
                tensor, .malformed, "external-range",
                "it takes \(byteCount) bytes from byte \(external.offset) of "
                    + "'\(escapedForDisplay(String(decoding: location, as: UTF8.self)))', which has "
                    + "\(source.byteCount)")
        }
        return .extent(Extent(source: source, offset: external.offset, byteCount: byteCount))
    }

    private mutating func externalFile(
        _ location: [UInt8], for tensor: ONNXTensor
    ) throws(CheckpointError) -> InputFile {
        let key = ByteKey(location)
        if let index = externalIndex[key] { return externalFiles[index].source }
        guard let text = String(validating: location, as: UTF8.self) else {
            throw error(
                tensor, .malformed, "external-data", "the name of the file with its bytes is not UTF-8")
        }
        guard externalFiles.count < Self.fileLimit else {
            throw error(tensor, .unsupported, "file-limit", "its tensors are in too many files")
        }
        let source: InputFile
        do { source = try file.sibling(text) } catch {
            var error = error
            error.tensor = TensorName(utf8: tensor.name)
            throw error
        }
        externalIndex[key] = externalFiles.count
        externalFiles.append((location, source))
        return source
    }
}
