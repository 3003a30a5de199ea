internal import CheckpointFormats
internal import Checkpoints
internal import TensorCore

/// A tensor as it stands in a GGUF file.
struct GGUFTensor {
    /// Its bytes; the dtype is that of the numbers that blocks stand for.
    let record: TensorRecord
    let type: GGUFType
    let sourceDType: DType
    /// The type's name, where it is one of blocks.
    var encoding: String? { type.dtype == nil ? type.name : nil }

    init(
        _ tensor: TensorRecord, _ quantization: GGUFQuantization?, _ context: GGUFMixContext, file: String
    ) throws(CheckpointError) {
        sourceDType = tensor.dtype
        let name = tensor.name.string
        guard tensor.dtype.isCastableFloat else {
            // Numbers that are no weights stay as they are.
            guard let type = GGUFType(tensor.dtype) else {
                throw CheckpointError(
                    .unsupported, "gguf-dtype",
                    "GGUF has no \(tensor.dtype.name): convert it with --dtype '\(tensor.name)=f32'",
                    file: file,
                    tensor: tensor.name)
            }
            (record, self.type) = (tensor, type)
            return
        }
        let isLarge = GGUFQuantization.isLarge(name, shape: tensor.shape)
        let plain = tensor.dtype == .f64 || !isLarge ? DType.f32 : tensor.dtype
        type =
            isLarge
            ? (quantization ?? .plain(plain)).map { $0.type(of: name, shape: tensor.shape, context) }
                ?? GGUFType(.q8_0)
            : GGUFQuantization.all[0].base
        do throws(ExpressionError) {
            let expression = try tensor.expression.cast(to: type.dtype ?? .f32)
            guard let format = type.format, let encoder = BlockEncoder(format) else {
                record = TensorRecord(name: tensor.name, expression)
                return
            }
            record = TensorRecord(
                name: tensor.name, dtype: .f32, shape: tensor.shape,
                source: .computed(try BlockMap(expression.source, codec: encoder)))
        } catch {
            throw CheckpointError(
                .unsupported, "gguf-tensor", error.description, file: file, tensor: tensor.name)
        }
    }
}
