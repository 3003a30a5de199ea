internal import Checkpoints
internal import TensorCore

/// Puts plain tensors in the place of quantised ones and their scales and biases.
struct MLXTableBuilder {
    private let tensors: TensorTable
    private let quantization: MLXQuantization
    private let file: String
    private let positions: [TensorName: Int]

    init(_ tensors: TensorTable, quantization: MLXQuantization, file: String) {
        self.tensors = tensors
        self.quantization = quantization
        self.file = file
        positions = Dictionary(
            tensors.enumerated().map { ($0.element.name, $0.offset) }, uniquingKeysWith: { first, _ in first }
        )
    }

    /// The table without what belongs to quantised weights only.
    func table() throws(CheckpointError) -> TensorTable {
        var records: [TensorRecord] = []
        var used: Set<TensorName> = []
        for tensor in tensors {
            guard let layer = tensor.name.utf8.dropping(suffix: ".weight"),
                let scales = part("scales", of: layer)
            else {
                records.append(tensor)
                continue
            }
            let (made, parts) = try plain(tensor, layer: layer, scales: scales)
            used.formUnion(parts.map(\.name))
            records.append(TensorRecord(name: tensor.name, made))
        }
        return TensorTable(records.filter { !used.contains($0.name) })
    }

    private func part(_ name: String, of layer: ArraySlice<UInt8>) -> TensorRecord? {
        positions[TensorName(utf8: layer + Array(".\(name)".utf8))].map { tensors[$0] }
    }

    private func plain(
        _ weight: TensorRecord, layer: ArraySlice<UInt8>, scales: TensorRecord
    ) throws(CheckpointError) -> (TensorExpression, parts: [TensorRecord]) {
        guard let settings = quantization.layer(named: layer) else {
            throw error(
                weight, .malformed, "mlx-layer", "the config says it is not quantised, and it has scales")
        }
        guard weight.dtype == .u32, let words = weight.shape.last, let groups = scales.shape.last,
            weight.shape.dropLast() == scales.shape.dropLast()
        else {
            throw error(
                weight, .malformed, "mlx-shape",
                "\(weight.dtype.name) of shape \(weight.shape) does not go with scales of shape \(scales.shape)"
            )
        }
        let (bits, overflow) = words.multipliedReportingOverflow(by: 32)
        let (columns, excess) = groups.multipliedReportingOverflow(by: UInt64(settings.groupLength))
        let (needed, beyond) = columns.multipliedReportingOverflow(by: UInt64(settings.bitWidth))
        guard !overflow, !excess, !beyond, bits == needed else {
            throw error(
                weight, .malformed, "mlx-shape",
                "\(words) words of 32 bits are not \(groups) groups of \(settings.groupLength) numbers of "
                    + "\(settings.bitWidth) bits, which the config says they are")
        }
        let shape = Array(weight.shape.dropLast()) + [columns]
        do throws(ExpressionError) {
            if settings.mode == "affine" { return try affine(weight, layer, scales, settings, shape) }
            return (try scaled(weight, layer, scales, settings, shape), [scales])
        } catch {
            throw self.error(weight, .unsupported, "mlx-mode", "\(error)")
        }
    }

    private func affine(
        _ weight: TensorRecord, _ layer: ArraySlice<UInt8>, _ scales: TensorRecord,
        _ settings: MLXQuantization.Layer, _ shape: [UInt64]
    ) throws(ExpressionError) -> (TensorExpression, parts: [TensorRecord]) {
        guard let biases = part("biases", of: layer), biases.shape == scales.shape,
            biases.dtype == scales.dtype, scales.dtype.isCastableFloat, scales.dtype != .f64
        else {
            throw ExpressionError("it has not scales and biases of one floating dtype and one shape")
        }
        guard AffineGroups.bitWidths.contains(settings.bitWidth), settings.groupLength % 8 == 0 else {
            throw ExpressionError(
                "groups of \(settings.groupLength) numbers of \(settings.bitWidth) bits are not MLX's")
        }
        guard DType.f64.byteCount(of: shape) != nil else {
            throw ExpressionError("the size of shape \(shape) is beyond 64 bits")
        }
        let node = MLXAffineTensor(
            packed: weight.source, scales: scales.source, biases: biases.source, dtype: scales.dtype,
            bitWidth: settings.bitWidth, groupLength: settings.groupLength)
        let made = try TensorExpression(dtype: scales.dtype, shape: shape, source: .computed(node))
        return (made, [scales, biases])
    }

    /// Small floats with a scale for each group, which are made BF16 as MLX does.
    private func scaled(
        _ weight: TensorRecord, _ layer: ArraySlice<UInt8>, _ scales: TensorRecord,
        _ settings: MLXQuantization.Layer, _ shape: [UInt64]
    ) throws(ExpressionError) -> TensorExpression {
        let kinds: [String: (bits: Int, group: Int, values: DType, scales: DType)] = [
            "mxfp4": (4, 32, .f4, .f8E8M0), "mxfp8": (8, 32, .f8E4M3, .f8E8M0),
            "nvfp4": (4, 16, .f4, .f8E4M3),
        ]
        guard let kind = kinds[settings.mode] else {
            throw ExpressionError(
                "its quantisation has the mode '\(escapedForDisplay(settings.mode))', which is not read")
        }
        guard kind.bits == settings.bitWidth, kind.group == settings.groupLength, scales.dtype == .u8,
            part("global_scale", of: layer) == nil
        else {
            throw ExpressionError(
                "its quantisation is not the \(settings.mode) of \(kind.bits) bits and groups of \(kind.group)"
            )
        }
        return try TensorExpression.blockDequantised(
            TensorExpression(dtype: kind.values, shape: shape, source: weight.source),
            scales: TensorExpression(dtype: kind.scales, shape: scales.shape, source: scales.source),
            block: [UInt64](repeating: 1, count: shape.count - 1) + [UInt64(kind.group)], dtype: .bf16)
    }

    private func error(
        _ tensor: TensorRecord, _ class: CheckpointError.Class, _ code: String, _ message: String
    ) -> CheckpointError {
        CheckpointError(`class`, code, message, file: file, tensor: tensor.name)
    }
}

extension [UInt8] {
    /// What comes before an ending; nil where the bytes end otherwise.
    fileprivate func dropping(suffix: String) -> ArraySlice<UInt8>? {
        let count = suffix.utf8.count
        return self.count >= count && self.suffix(count).elementsEqual(suffix.utf8) ? dropLast(count) : nil
    }
}
