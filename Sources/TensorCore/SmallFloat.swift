/// A floating format of four, six or eight bits: sign, exponent, significand.
///
/// Conversions are branch-free, so that loops over them vectorise. Sources: OCP 8-bit Floating Point
/// Specification 1.0 (E4M3, E5M2), OCP Microscaling Formats 1.0 (E2M3, E3M2, E2M1), Noune et al.,
/// arXiv:2206.02915 (FNUZ); checked value by value against ml_dtypes.
struct SmallFloat: Sendable {
    let bitWidth: UInt32
    let mantissaBits: UInt32
    let bias: UInt32
    /// The largest finite magnitude.
    let largest: UInt32
    /// The magnitude of infinity; where there is none, of NaN; where there is neither, ``largest``.
    let overflow: UInt32
    /// The magnitude of NaN; where there is none, zero.
    let nan: UInt32
    /// True where the pattern of negative zero is NaN.
    let hasUnsignedZero: Bool

    /// The format of `dtype`, or nil where it is none with a sign and at most eight bits.
    init?(_ dtype: DType) {
        switch dtype {
        case .f8E5M2: self.init(8, 2, bias: 15, largest: 0x7B, overflow: 0x7C, nan: 0x7E)
        case .f8E4M3: self.init(8, 3, bias: 7, largest: 0x7E, overflow: 0x7F, nan: 0x7F)
        case .f8E5M2FNUZ: self.init(8, 2, bias: 16, largest: 0x7F, overflow: 0x80, nan: 0x80, fnuz: true)
        case .f8E4M3FNUZ: self.init(8, 3, bias: 8, largest: 0x7F, overflow: 0x80, nan: 0x80, fnuz: true)
        case .f6E2M3: self.init(6, 3, bias: 1, largest: 0x1F, overflow: 0x1F, nan: 0)
        case .f6E3M2: self.init(6, 2, bias: 3, largest: 0x1F, overflow: 0x1F, nan: 0)
        case .f4: self.init(4, 1, bias: 1, largest: 0x7, overflow: 0x7, nan: 0)
        default: return nil
        }
    }

    private init(
        _ bitWidth: UInt32, _ mantissaBits: UInt32, bias: UInt32, largest: UInt32, overflow: UInt32,
        nan: UInt32, fnuz: Bool = false
    ) {
        self.bitWidth = bitWidth
        self.mantissaBits = mantissaBits
        self.bias = bias
        self.largest = largest
        self.overflow = overflow
        self.nan = nan
        hasUnsignedZero = fnuz
    }

    /// The pattern of the F32 whose bits are given: to nearest, ties to even.
    ///
    /// - Parameter beyond: the magnitude for what is larger than ``largest``.
    @inline(__always)
    func pattern(of bits: UInt32, beyond: UInt32) -> UInt8 {
        let magnitude = bits & 0x7FFF_FFFF
        // Masking shifts, all by less than 32: the others would test for more.
        let shift = 23 - mantissaBits
        let halfLess = (UInt32(1) &<< (shift - 1)) &- 1
        let rounded = (magnitude &+ halfLess &+ ((magnitude &>> shift) & 1)) &>> shift
        let normal = rounded &- ((127 - bias) &<< mantissaBits)
        // Adding a float whose last place is the smallest subnormal rounds a subnormal result into place.
        let magic = (151 - bias - mantissaBits) &<< 23
        let subnormal = (Float(bitPattern: magnitude) + Float(bitPattern: magic)).bitPattern &- magic
        var result = magnitude < (128 - bias) &<< 23 ? subnormal : normal
        result = result > largest ? beyond : result
        result = magnitude > 0x7F80_0000 ? nan : result
        let signed = result | (bits >> 31) &<< (bitWidth - 1)
        return UInt8(truncatingIfNeeded: hasUnsignedZero && result == 0 ? 0 : signed)
    }

    /// The value of a pattern: exact.
    func value(of pattern: UInt8) -> Float {
        let signBit = UInt32(1) << (bitWidth - 1)
        let magnitude = UInt32(pattern) & (signBit - 1)
        let isNegative = UInt32(pattern) & signBit != 0
        if hasUnsignedZero, isNegative, magnitude == 0 { return .nan }
        if magnitude > largest {
            guard magnitude == overflow, overflow != nan else { return .nan }
            return isNegative ? -.infinity : .infinity
        }
        let fraction = magnitude & ((1 << mantissaBits) - 1)
        let exponent = magnitude >> mantissaBits
        let significand = exponent == 0 ? fraction : fraction | 1 << mantissaBits
        let scale = Int(max(exponent, 1)) - Int(bias) - Int(mantissaBits)
        let value = Float(sign: .plus, exponent: scale, significand: Float(significand))
        return isNegative ? -value : value
    }
}

/// F8_E8M0: a power of two, as OCP Microscaling Formats 1.0 stores its scales.
enum PowerOfTwo {
    /// The value of a pattern, 2^(pattern − 127), NaN for 255.
    static func value(of pattern: UInt8) -> Float {
        pattern == 0xFF ? .nan : Float(sign: .plus, exponent: Int(pattern) - 127, significand: 1)
    }

    /// The pattern of the nearest power of two, ties to the larger as in ml_dtypes; NaN for what is negative.
    ///
    /// - Parameters:
    ///   - bits: the bits of an F32.
    ///   - beyond: the pattern for what is larger than 2^127.
    ///   - zero: the pattern for zero.
    @inline(__always)
    static func pattern(of bits: UInt32, beyond: UInt32, zero: UInt32) -> UInt8 {
        let normal = (bits &+ 0x40_0000) >> 23
        // Below 2^-126 an F32 is subnormal and counts 2^-149.
        let subnormal: UInt32 = bits >= 0x60_0000 ? 1 : 0
        var result = bits < 0x80_0000 ? subnormal : normal
        result = result > 0xFE ? beyond : result
        result = bits == 0 || bits == 0x8000_0000 ? zero : result
        result = bits > 0x8000_0000 || (bits & 0x7FFF_FFFF) > 0x7F80_0000 ? 0xFF : result
        return UInt8(truncatingIfNeeded: result)
    }
}
