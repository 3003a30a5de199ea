/// Bit-level conversions between floating formats, one element at a time, branch-free so that loops vectorise.
///
/// All round to nearest, ties to even; overflow gives infinity; a NaN stays a NaN, quiet, with its sign and the
/// payload bits that fit. `Float16(_:)` does the same but is a slow library call on x86-64 Linux.
@usableFromInline
enum FloatBits {
    /// F32 bits to BF16 bits.
    @inlinable @inline(__always)
    static func bf16(f32 bits: UInt32) -> UInt16 {
        let rounded = (bits &+ 0x7FFF &+ ((bits >> 16) & 1)) >> 16
        let quiet = (bits >> 16) | 0x40
        let isNaN = (bits & 0x7FFF_FFFF) > 0x7F80_0000
        return UInt16(truncatingIfNeeded: isNaN ? quiet : rounded)
    }

    /// BF16 bits to F32 bits: exact.
    @inlinable @inline(__always)
    static func f32(bf16 bits: UInt16) -> UInt32 { UInt32(bits) << 16 }

    /// F32 bits to F16 bits.
    @inlinable @inline(__always)
    static func f16(f32 bits: UInt32) -> UInt16 {
        let magnitude = bits & 0x7FFF_FFFF
        let sign = (bits >> 16) & 0x8000
        // Adding 0.5 as a float rounds a subnormal result into place.
        let magic: UInt32 = 126 << 23
        let subnormal = (Float(bitPattern: magnitude) + Float(bitPattern: magic)).bitPattern &- magic
        let normal = (magnitude &+ 0xC800_0FFF &+ ((magnitude >> 13) & 1)) >> 13
        let nan = 0x7E00 | ((magnitude >> 13) & 0x3FF)
        var result = magnitude < (113 << 23) ? subnormal : normal
        result = magnitude >= (143 << 23) ? 0x7C00 : result
        result = magnitude > 0x7F80_0000 ? nan : result
        return UInt16(truncatingIfNeeded: result | sign)
    }

    /// F16 bits to F32 bits: exact.
    @inlinable @inline(__always)
    static func f32(f16 bits: UInt16) -> UInt32 {
        let magnitude = UInt32(bits & 0x7FFF) << 13
        let sign = UInt32(bits & 0x8000) << 16
        let exponent = magnitude & 0x0F80_0000
        let normal = magnitude &+ (112 << 23)
        let special = magnitude &+ (224 << 23)
        let quieted = (magnitude & 0x007F_FFFF) != 0 ? special | 0x0040_0000 : special
        // A subnormal is its integer value times 2^-24.
        let subnormal = (Float(bitPattern: magnitude &+ (113 << 23)) - Float(bitPattern: 113 << 23))
            .bitPattern
        var result = exponent == 0 ? subnormal : normal
        result = exponent == 0x0F80_0000 ? quieted : result
        return result | sign
    }
}
