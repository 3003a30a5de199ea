internal import Checkpoints
internal import TensorCore

/// The elements of a NumPy array, as its `descr` names them.
struct NPYElement: Equatable {
    let dtype: DType
    let isBigEndian: Bool

    /// The bytes that are reversed in big-endian arrays: those of a part of a complex number.
    var swapWidth: Int { dtype == .c64 ? 4 : dtype.bitWidth / 8 }

    /// Why an array has no dtype here.
    struct Refusal: Error {
        let `class`: CheckpointError.Class
        let code: String
        let message: String
    }

    private static let dtypes: [String: DType] = [
        "b1": .bool, "u1": .u8, "u2": .u16, "u4": .u32, "u8": .u64, "i1": .i8, "i2": .i16, "i4": .i32,
        "i8": .i64, "f2": .f16, "f4": .f32, "f8": .f64, "c8": .c64,
    ]

    /// Reads a `descr`.
    ///
    /// - Parameters:
    ///   - descr: the value of the header.
    ///   - voidDType: what elements without a dtype are to be taken for.
    init(_ descr: PythonLiteral, voidDType: DType?) throws(Refusal) {
        let text: String
        switch descr {
        case .text(let bytes): text = String(decoding: bytes, as: UTF8.self)
        case .list, .tuple:
            throw Self.unsupported("its elements are records of several fields", code: "structured-dtype")
        default: throw Refusal(class: .malformed, code: "npy-header", message: "its descr is no text")
        }
        let order = text.utf8.first.flatMap { "<>|=".utf8.contains($0) ? $0 : nil }
        let kind = String(decoding: order == nil ? text.utf8[...] : text.utf8.dropFirst(), as: UTF8.self)
        if let dtype = Self.dtypes[kind] {
            self.dtype = dtype
            isBigEndian = order == UInt8(ascii: ">") && dtype.bitWidth > 8
        } else if kind.utf8.first == UInt8(ascii: "V") || kind == "f1" {
            dtype = try Self.voidElement(kind, voidDType)
            isBigEndian = false
        } else {
            throw Self.refusal(of: kind, spelt: text)
        }
    }

    /// What NumPy writes for dtypes that are not its own, such as bfloat16: their size and no more (`f1`, of which
    /// there are several, for one of the float8).
    private static func voidElement(_ kind: String, _ wanted: DType?) throws(Refusal) -> DType {
        guard let width = Int(String(kind.dropFirst())), width > 0 else {
            throw unsupported("its elements have no size", code: "void-dtype")
        }
        guard let wanted else {
            let choice =
                switch width {
                case 1: "--void-as with the float8 dtype that it was, such as f8_e4m3"
                case 2: "--void-as bf16 if it was bfloat16"
                default: "--void-as with the dtype that it was"
                }
            throw unsupported(
                "NumPy wrote its elements as \(kind), which says their size (\(width)) and not their dtype; "
                    + "read it with \(choice)", code: "void-dtype")
        }
        guard wanted.byteWidth == width else {
            throw unsupported(
                "its elements have a size of \(width), and those of \(wanted.name) have not",
                code: "void-dtype")
        }
        return wanted
    }

    private static func refusal(of kind: String, spelt text: String) -> Refusal {
        switch kind.utf8.first {
        case UInt8(ascii: "O"):
            return Refusal(
                class: .unsafe, code: "object-dtype",
                message: "its elements are Python objects, a pickle that could run code; nothing was run")
        case UInt8(ascii: "S"), UInt8(ascii: "U"), UInt8(ascii: "a"), UInt8(ascii: "T"):
            return unsupported("its elements are strings", code: "string-dtype")
        case UInt8(ascii: "M"), UInt8(ascii: "m"):
            return unsupported("its elements are dates or durations", code: "datetime-dtype")
        default: break
        }
        let what =
            switch kind {
            case "c16": "complex128 numbers"
            case "f12", "f16", "c24", "c32": "long doubles, which differ between machines"
            default: "of the dtype '\(escapedForDisplay(text))'"
            }
        return unsupported("its elements are \(what), and no dtype here holds them", code: "npy-dtype")
    }

    private static func unsupported(_ message: String, code: String) -> Refusal {
        Refusal(class: .unsupported, code: code, message: message)
    }
}
