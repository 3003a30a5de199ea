internal import Checkpoints
internal import TensorCore

/// NumPy arrays in one stored archive, as `numpy.savez` writes them.
struct NumPyOutput: OutputFormat {
    let name = "npz"
    let summary = "NumPy arrays in one archive, for numpy.load"
    let patterns = "*.npz"
    // Whoever loads arrays ties nothing.
    let tieRule = TieRule.copied

    func layOut(_ model: OutputModel) throws(ConversionError) -> OutputLayout {
        try Self.checkNames(of: model)
        var zip = ZipLayout()
        var items: [ExportPlan.Item] = []
        for (number, tensor) in model.tensors.enumerated() {
            guard let head = Self.header(dtype: tensor.dtype, shape: tensor.shape) else {
                throw model.refusal(
                    number, "numpy-dtype",
                    "NumPy has no \(tensor.dtype.name): convert it with "
                        + (tensor.dtype.isCastableFloat
                            ? "--dtype f32" : "--dtype '\(tensor.name)=f32', or leave it out with --drop"))
            }
            items.append(
                model.item(
                    number,
                    at: zip.add(
                        tensor.name.utf8 + Array(".npy".utf8), head: head, segment: number,
                        byteCount: tensor.byteCount)))
        }
        zip.finish()
        return OutputLayout(
            shards: [ExportPlan.Shard(fileName: "\(model.baseName).npz", zip, tensors: items)],
            skipped: model.metadataLeft("text beside the tensors, which NumPy has no place for"))
    }

    /// Refuses names that readers of archives would take for a place outside, or for another member.
    private static func checkNames(of model: OutputModel) throws(ConversionError) {
        var seen: [ByteKey: Int] = [:]
        for (number, tensor) in model.tensors.enumerated() {
            let name = tensor.name.utf8
            let parts = name.split(separator: 0x2F, omittingEmptySubsequences: false)
            let isSafe =
                name.count <= 60_000 && name.allSatisfy { $0 >= 0x20 && $0 != 0x5C && $0 != 0x7F }
                && parts.allSatisfy {
                    !$0.isEmpty && !$0.elementsEqual([0x2E]) && !$0.elementsEqual([0x2E, 0x2E])
                }
            guard isSafe else {
                throw model.refusal(
                    number, "numpy-name",
                    "its name cannot be that of a member of an archive: change it with --rename")
            }
            // NumPy takes a member by its name with the suffix and without; readers ignore case.
            var key = name.map { 0x41...0x5A ~= $0 ? $0 | 0x20 : $0 }
            while key.suffix(4).elementsEqual(".npy".utf8) { key.removeLast(4) }
            if let other = seen.updateValue(number, forKey: ByteKey(key)) {
                throw model.refusal(
                    number, "numpy-name",
                    "readers of archives take its name for that of \(model.tensors[other].name): change one "
                        + "with --rename")
            }
        }
    }

    /// The header that `numpy.save` writes; nil for what NumPy has not.
    static func header(dtype: DType, shape: [UInt64]) -> [UInt8]? {
        let codes: [DType: String] = [
            .f64: "<f8", .f32: "<f4", .f16: "<f2", .i64: "<i8", .i32: "<i4", .i16: "<i2", .i8: "|i1",
            .u64: "<u8", .u32: "<u4", .u16: "<u2", .u8: "|u1", .bool: "|b1", .c64: "<c8",
        ]
        guard let code = codes[dtype] else { return nil }
        let list = shape.map { String($0) }.joined(separator: ", ") + (shape.count == 1 ? "," : "")
        var text = "{'descr': '\(code)', 'fortran_order': False, 'shape': (\(list)), }"
        // NumPy leaves room for the first dimension to grow to 21 digits.
        if let first = shape.first { text += String(repeating: " ", count: 21 - String(first).utf8.count) }
        let isShort = text.utf8.count + 1 + 10 + 63 <= Int(UInt16.max)
        let start = isShort ? 10 : 12
        let padding = (64 - (start + text.utf8.count + 1) % 64) % 64
        text += String(repeating: " ", count: padding) + "\n"
        let count = text.utf8.count
        return [0x93] + Array("NUMPY".utf8) + (isShort ? [1, 0] : [2, 0])
            + (isShort ? LittleEndian(UInt16(count)) : LittleEndian(UInt32(count))).bytes + Array(text.utf8)
    }
}
