/// Whole numbers of 2 or 4 bits, several to a byte and the first in the lowest bits, made into one byte each.
public struct PackedIntegers: BlockCodec {
    private let bitWidth: Int
    private let isSigned: Bool

    /// Makes a codec.
    ///
    /// - Parameters:
    ///   - bitWidth: 2 or 4.
    ///   - isSigned: whether the top bit of each is its sign.
    public init(bitWidth: Int, isSigned: Bool) {
        precondition(bitWidth == 2 || bitWidth == 4)
        self.bitWidth = bitWidth
        self.isSigned = isSigned
    }

    /// Such as `int4_unpacked`.
    public var name: String { "\(isSigned ? "int" : "uint")\(bitWidth)_unpacked" }
    /// One.
    public var inputByteCount: Int { 1 }
    /// The numbers in a byte.
    public var outputByteCount: Int { 8 / bitWidth }

    /// Unpacks whole bytes.
    public func convert(_ input: RawSpan, into output: inout MutableRawSpan) {
        let (ratio, unused) = (outputByteCount, UInt8(8 - bitWidth))
        for index in 0..<input.byteCount {
            let byte = input[index]
            for part in 0..<ratio {
                let top = byte << (unused - UInt8(part * bitWidth))
                let value =
                    isSigned ? UInt8(bitPattern: Int8(bitPattern: top) >> Int8(unused)) : top >> unused
                output.storeBytes(of: value, toByteOffset: index * ratio + part, as: UInt8.self)
            }
        }
    }
}
