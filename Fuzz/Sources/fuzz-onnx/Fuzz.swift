import FuzzEntries

/// What libFuzzer calls.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    FuzzEntry.onnx(Array(UnsafeBufferPointer(start: start, count: count)))
    return 0
}
