public import TensorCore

/// Why a SafeTensors file or index is refused, or cannot be written: what is wrong and where.
public struct SafeTensorsError: Error, Sendable {
    /// What kind of fault it is.
    ///
    /// The raw values are stable and appear in reports.
    public enum Code: String, Sendable, CaseIterable {
        /// The file is shorter than the eight bytes of the header length.
        case headerTooSmall
        /// The header is, or would be, longer than ``SafeTensorsHeader/maximumHeaderByteCount``.
        case headerTooLarge
        /// The file ends within the header.
        case headerTruncated
        /// Bytes follow the last tensor.
        case trailingBytes
        /// The file ends before the last tensor does.
        case dataTruncated
        /// The header is not UTF-8.
        case headerNotUTF8
        /// The header is not JSON.
        case headerNotJSON
        /// The header is JSON but not an object.
        case headerNotObject
        /// The header nests arrays or objects too deeply.
        case nestingTooDeep
        /// A tensor, a field or a metadata key occurs twice.
        case duplicateKey
        /// `__metadata__` is not an object of strings.
        case badMetadata
        /// A tensor's entry lacks a field or has one of the wrong kind.
        case badTensorEntry
        /// The dtype is not one of the 22 of the format.
        case unknownDType
        /// The shape is not an array of unsigned 64-bit integers.
        case badShape
        /// The offsets are not two unsigned 64-bit integers in ascending order.
        case badOffsets
        /// Bytes before or between tensors belong to none.
        case offsetHole
        /// Two tensors share bytes.
        case offsetOverlap
        /// A size does not fit 64 bits.
        case sizeOverflow
        /// The offsets span another number of bytes than dtype and shape give.
        case sizeMismatch
        /// The elements of a sub-byte dtype do not fill whole bytes.
        case subByteMisaligned
        /// Bytes could not be read or written; see ``SafeTensorsError/io``.
        case io
        /// A tensor to write is named `__metadata__`, which no reader could read back.
        case reservedName
        /// Two tensors to write have the same name, or two metadata entries the same key.
        case duplicateName
        /// The name of a tensor to write is not UTF-8.
        case nameNotUTF8
        /// The bytes given for a tensor are not as many as its shape needs, or come out of order.
        case wrongByteCount
        /// Bytes of a tensor are given a second time.
        case writtenTwice
        /// The alignment that a layout shall have is not a power of two within bounds.
        case badAlignment
        /// A metadata key to remove is not there.
        case unknownKey
        /// Another program holds or changes the file.
        case fileBusy
        /// The file has several hard links and would change under all of its names.
        case sharedFile
        /// A change of the file was interrupted and cannot be finished.
        case interruptedEdit
        /// An index file is not of the expected shape.
        case badIndex
        /// An index file names a shard outside its directory.
        case unsafePath
        /// An index file names a shard of another kind of file.
        case wrongExtension
        /// An index is beyond its axis.
        case outOfRange
        /// A selection has more indices than the tensor has axes.
        case tooManyIndices
        /// A selection has a step of zero or more than one ellipsis.
        case badSelection
        /// A shard of a model lacks a tensor that the index places there, or no shard has the tensor.
        case tensorMissing
    }

    /// What kind of fault it is.
    public var code: Code
    /// The byte of the file where the fault is.
    public var offset: UInt64
    /// The tensor that the fault is about; a name of more than 1 KiB that was read from a file is cut.
    public var tensor: TensorName?
    /// What is wrong, as a phrase without a full stop.
    public var message: String
    /// The variant with which the reference implementation refuses the same fault, or nil where it accepts it.
    public var referenceName: String?
    /// The failure to read or write, where `code` is ``Code/io``.
    public var io: IOError?

    /// Makes an error.
    ///
    /// - Parameter referenceName: the reference's variant where it is not the usual one of `code`.
    init(
        _ code: Code, at offset: UInt64 = 0, tensor: TensorName? = nil, _ message: String,
        referenceName: String?? = nil
    ) {
        self.code = code
        self.offset = offset
        self.tensor = tensor
        self.message = message
        self.referenceName = referenceName ?? code.referenceName
    }

    /// The error for a failure to read or write.
    init(_ error: IOError) {
        self.init(.io, at: error.offset ?? 0, error.description)
        io = error
    }
}

extension SafeTensorsError.Code {
    /// The variant of the reference's `SafeTensorError` for the same fault.
    var referenceName: String? {
        switch self {
        case .headerTooSmall: "HeaderTooSmall"
        case .headerTooLarge: "HeaderTooLarge"
        case .headerTruncated: "InvalidHeaderLength"
        case .trailingBytes, .dataTruncated: "MetadataIncompleteBuffer"
        case .headerNotUTF8: "InvalidHeader"
        case .headerNotJSON, .headerNotObject, .nestingTooDeep, .duplicateKey, .badMetadata, .badTensorEntry,
            .unknownDType, .badShape:
            "InvalidHeaderDeserialization"
        case .badOffsets, .offsetHole, .offsetOverlap: "InvalidOffset"
        case .sizeOverflow: "ValidationOverflow"
        case .sizeMismatch: "TensorInvalidInfo"
        case .subByteMisaligned: "MisalignedSlice"
        case .io: "IoError"
        case .reservedName, .duplicateName, .nameNotUTF8, .wrongByteCount, .writtenTwice, .badAlignment,
            .unknownKey, .fileBusy, .sharedFile, .interruptedEdit, .badIndex, .unsafePath, .wrongExtension,
            .outOfRange, .tooManyIndices, .badSelection, .tensorMissing:
            nil
        }
    }
}

extension SafeTensorsError: CustomStringConvertible {
    /// The byte, the tensor where there is one, the message and the code in one line, safe to print.
    public var description: String {
        if code == .io { return message }
        return "byte \(offset): " + (tensor.map { "tensor \($0): " } ?? "") + "\(message) [\(code.rawValue)]"
    }
}
