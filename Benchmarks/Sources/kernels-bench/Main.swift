import Glibc
import SafeTensors

/// `kernels-bench FROM TO BYTES RUNS`: prints as JSON the least time of RUNS conversions that read and write BYTES in
/// all, at each level of the processor's instructions, and of memcpy that does.
@main struct Main {
    static func main() {
        let arguments = CommandLine.arguments
        guard arguments.count == 5, let from = DType(name: arguments[1]), let to = DType(name: arguments[2]),
            let byteCount = Int(arguments[3]), let runs = Int(arguments[4])
        else { fatalError("kernels-bench FROM TO BYTES RUNS") }
        // A number of elements that fills bytes in every dtype.
        let count = byteCount * 8 / (from.bitWidth + to.bitWidth) / 64 * 64
        let input = weights(count, as: from)
        var output = filled(count * to.bitWidth / 8)
        let half = (input.count + output.count) / 2
        let original = filled(half)
        var copy = filled(half)

        let levels = KernelLevel.allCases.filter(\.isAvailable)
        var best = [String: Double]()
        // Small buffers are converted many times between two looks at the clock.
        let repeats = max(1, (16 << 20) / byteCount)
        for _ in 0..<runs {
            for level in levels {
                note("\(level)", repeats, in: &best) {
                    var span = output.mutableSpan
                    var raw = MutableRawSpan(_elements: &span)
                    ElementCast.convert(input.span.bytesView, from: from, to: to, level: level, into: &raw)
                }
            }
            note("memcpy", repeats, in: &best) {
                copy.withUnsafeMutableBytes { target in
                    original.withUnsafeBytes { _ = memcpy(target.baseAddress!, $0.baseAddress!, half) }
                }
            }
        }
        let times = best.sorted { $0.key < $1.key }.map { #""\#($0)":\#($1)"# }.joined(separator: ",")
        print(#"{"bytes":\#(2 * half),"seconds":{\#(times)},"best":"\#(KernelLevel.best)"}"#)
    }

    /// Bytes in large pages, all touched.
    static func filled(_ count: Int) -> [UInt8] {
        [UInt8](count: count) { span in
            for index in 0..<span.byteCount { span.storeBytes(of: 1, toByteOffset: index, as: UInt8.self) }
        }
    }

    /// Numbers of many sizes below 1, as weights are.
    static func weights(_ count: Int, as dtype: DType) -> [UInt8] {
        var state: UInt64 = 1
        let floats = (0..<count).map { _ in
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            let mantissa = UInt32(truncatingIfNeeded: state >> 33) & 0x807F_FFFF
            return Float(bitPattern: mantissa | UInt32(112 + (state >> 20) % 14) << 23)
        }
        var result = filled(count * dtype.bitWidth / 8)
        var span = result.mutableSpan
        var raw = MutableRawSpan(_elements: &span)
        ElementCast.convert(floats.span.bytesView, from: .f32, to: dtype, into: &raw)
        return result
    }

    /// Keeps the least time of `body` under `name`.
    static func note(_ name: String, _ repeats: Int, in best: inout [String: Double], _ body: () -> Void) {
        let start = now
        for _ in 0..<repeats { body() }
        best[name] = min(best[name] ?? .infinity, (now - start) / Double(repeats))
    }

    static var now: Double {
        var value = timespec()
        clock_gettime(CLOCK_MONOTONIC, &value)
        return Double(value.tv_sec) + Double(value.tv_nsec) * 1e-9
    }
}
