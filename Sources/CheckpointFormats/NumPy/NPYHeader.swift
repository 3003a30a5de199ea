internal import Checkpoints
internal import TensorCore

/// The header of a NumPy array: what its elements are, how they are arranged, where they begin.
struct NPYHeader {
    let descr: PythonLiteral
    let isFortranOrder: Bool
    let shape: [UInt64]
    /// The bytes of the header, after which the elements stand.
    let byteCount: UInt64

    static let magic: [UInt8] = [0x93, 0x4E, 0x55, 0x4D, 0x50, 0x59]
    private static let textLimit = 64 << 10

    /// Reads the header at the beginning of a range of a source.
    init(reading source: any ByteSource, range: Range<UInt64>, file: String, member: String?)
        throws(CheckpointError)
    {
        func error(_ code: String, _ message: String, at offset: Int) -> CheckpointError {
            let kind: CheckpointError.Class = code == "npy-version" ? .unsupported : .malformed
            return CheckpointError(
                kind, code, message, file: file, member: member, offset: UInt64(offset))
        }
        func bytes(_ start: Int, _ count: Int) throws(CheckpointError) -> [UInt8] {
            guard UInt64(start + count) <= range.upperBound - range.lowerBound else {
                throw error("truncated", "the file ends within the header", at: start)
            }
            do { return try source.bytes(at: range.lowerBound + UInt64(start), count: count) } catch {
                throw CheckpointError(error)
            }
        }
        let start = try bytes(0, 10)
        guard start.starts(with: Self.magic) else {
            throw error("not-npy", "it does not begin as a NumPy array does", at: 0)
        }
        guard 1...3 ~= start[6], start[7] == 0 else {
            throw error("npy-version", "it has version \(start[6]).\(start[7]); 1.0 to 3.0 are read", at: 6)
        }
        let isShort = start[6] == 1
        let size = isShort ? start[8...9] : try bytes(8, 4)[...]
        let count = size.reversed().reduce(0) { $0 << 8 | Int($1) }
        guard count <= Self.textLimit else {
            throw error("npy-header", "its header claims \(count) bytes, more than any needs", at: 8)
        }
        let textStart = isShort ? 10 : 12
        let text = try bytes(textStart, count)
        let literal: PythonLiteral
        do throws(PythonLiteral.Failure) { literal = try PythonLiteral(parsing: text) } catch let failure {
            throw error("npy-header", failure.message, at: textStart + failure.offset)
        }
        guard let (descr, isFortranOrder, shape) = Self.fields(of: literal) else {
            throw error(
                "npy-header", "its header is not the three fields descr, fortran_order and shape",
                at: textStart)
        }
        (self.descr, self.isFortranOrder, self.shape) = (descr, isFortranOrder, shape)
        byteCount = UInt64(textStart + count)
    }

    private static func fields(
        of literal: PythonLiteral
    ) -> (descr: PythonLiteral, isFortranOrder: Bool, shape: [UInt64])? {
        guard case .dictionary(let entries) = literal, entries.count == 3 else { return nil }
        func field(_ name: String) -> PythonLiteral? {
            entries.first { $0.key.elementsEqual(name.utf8) }?.value
        }
        guard let descr = field("descr"), case .bool(let order)? = field("fortran_order"),
            case .tuple(let items)? = field("shape")
        else { return nil }
        var shape: [UInt64] = []
        for item in items {
            guard case .integer(let dimension) = item else { return nil }
            shape.append(dimension)
        }
        return (descr, order, shape)
    }
}
