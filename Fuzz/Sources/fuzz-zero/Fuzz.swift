import FuzzEntries

/// What libFuzzer calls.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    FuzzEntry.zero(Array(UnsafeBufferPointer(start: start, count: count)))
    return 0
}
