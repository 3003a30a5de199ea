/// Numbers as bytes, lowest first.
struct LittleEndian {
    private(set) var bytes: [UInt8] = []

    init<T: FixedWidthInteger>(_ values: T...) { append(values) }

    func adding<T: FixedWidthInteger>(_ values: T...) -> LittleEndian {
        var result = self
        result.append(values)
        return result
    }

    private mutating func append<T: FixedWidthInteger>(_ values: [T]) {
        for value in values {
            for shift in stride(from: 0, to: T.bitWidth, by: 8) {
                bytes.append(UInt8(truncatingIfNeeded: value >> T(shift)))
            }
        }
    }
}
